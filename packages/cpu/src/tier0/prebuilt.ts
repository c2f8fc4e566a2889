/** The interpreter's modules as they were made when the package was built: making them at start-up costs a tenth of a second. */
export interface PrebuiltTier0 {
  /** The module's bytes, in base64, and those of AVX's. */
  readonly module: string;
  readonly avx: string;
  /** Slots of the handlers in `HandlerTable.helperUsers` and `HandlerTable.translated`. */
  readonly helperUsers: readonly number[];
  readonly translated: readonly number[];
}

/** Set by the package's build (tsup.config.ts); sources make the module when they run. */
export const PREBUILT: PrebuiltTier0 | undefined = undefined;
