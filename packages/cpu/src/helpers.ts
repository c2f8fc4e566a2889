import type { CodeEmitter, ModuleBuilder, Signature } from "@paravirt/wasm-emit";

/** A function that several instructions share: part of each module that calls it. */
export interface Helper {
  /** For messages only. */
  readonly name: string;
  readonly signature: Signature;
  /** Emits the body; parameters are locals 0, 1, …. `call` emits a call of another helper. */
  readonly emit: (e: CodeEmitter, call: (helper: Helper) => void) => void;
}

/** Defines a helper; call it through {@link Lowering.call} or from another helper. */
export function defineHelper(name: string, signature: Signature, emit: Helper["emit"]): Helper {
  return { name, signature, emit };
}

/** The helpers of one module: declared when something first calls them, emitted at the end. */
export class HelperFunctions {
  private readonly module: ModuleBuilder;
  private readonly indices = new Map<Helper, number>();

  constructor(module: ModuleBuilder) {
    this.module = module;
  }

  /** Index of `helper` in the module. */
  indexOf(helper: Helper): number {
    let index = this.indices.get(helper);
    if (index === undefined) {
      index = this.module.declare(helper.signature);
      this.indices.set(helper, index);
    }
    return index;
  }

  /** Emits all helpers that were called, and those that they call. `e` must be free. */
  define(e: CodeEmitter): void {
    // Iterating a Map reaches what is added on the way.
    for (const [helper, index] of this.indices) {
      e.begin(helper.signature.parameters);
      helper.emit(e, (other) => e.call(this.indexOf(other)));
      this.module.define(index, e);
    }
  }
}
