/** The two memory layouts of Xen's x86 interface, named as guests name them in ELF notes and xenstore. */
export type Abi = "x86_64" | "x86_32";

/**
 * A field of fixed meaning.
 *
 * `u8` to `s64` are C's exact types. `ulong` is `unsigned long` and `xen_ulong_t`, `pointer` a guest handle or address,
 * `frame` a `xen_pfn_t` or an `unsigned long` that counts frames: 8 bytes in x86_64, 4 in x86_32.
 * `frame64` is a `uint64_t` that holds a frame number.
 */
export type ScalarType =
  | "u8"
  | "s8"
  | "u16"
  | "s16"
  | "u32"
  | "s32"
  | "u64"
  | "s64"
  | "ulong"
  | "pointer"
  | "frame"
  | "frame64";

/** Fields of a structure or union, in the order of the C declaration. */
export interface FieldTable {
  readonly [field: string]: TypeExpression;
}

/** A C structure, written in place. */
export interface StructExpression<F = FieldTable> {
  /** Its fields, in order. */
  readonly struct: F;
  /** Fields follow each other without padding: GCC's `__attribute__((packed))`. */
  readonly packed?: true;
}

/** A C union, written in place. */
export interface UnionExpression<F = FieldTable> {
  /** Its members. */
  readonly union: F;
}

/** A type that differs between the ABIs; one that is missing does not have the field. */
export interface AbiExpression {
  /** The type for 64-bit guests. */
  readonly x86_64?: TypeExpression;
  /** The type for 32-bit guests. */
  readonly x86_32?: TypeExpression;
}

/**
 * How a table writes a field's type: a scalar, the name of another table, an array `[element, count]`
 * (`["char", n]` is text that ends at its first NUL), a nested structure or union, or one type for each ABI.
 */
export type TypeExpression =
  | ScalarType
  | string
  | readonly [TypeExpression, number]
  | StructExpression
  | UnionExpression
  | AbiExpression;

/** What each {@link ScalarType} becomes in TypeScript: `number` where it fits in 32 bits or counts frames, else `bigint`. */
export interface ScalarValues {
  /** `uint8_t`. */
  u8: number;
  /** `int8_t`. */
  s8: number;
  /** `uint16_t`. */
  u16: number;
  /** `int16_t`. */
  s16: number;
  /** `uint32_t`. */
  u32: number;
  /** `int32_t`. */
  s32: number;
  /** `uint64_t`. */
  u64: bigint;
  /** `int64_t`. */
  s64: bigint;
  /** `unsigned long`. */
  ulong: bigint;
  /** A guest handle. */
  pointer: bigint;
  /** `xen_pfn_t`. Above 2^53 it is rounded, and stays above every frame that exists. */
  frame: number;
  /** A frame number in a `uint64_t`; see `frame`. */
  frame64: number;
}

/** The fields `F` of a structure without those that ABI `A` does not have. */
export type PresentFields<F, A extends Abi> = {
  [K in keyof F as F[K] extends Record<"x86_32", unknown> | Record<"x86_64", unknown>
    ? A extends keyof F[K]
      ? K
      : never
    : K]: F[K];
};

/** The decoded form of a type expression `T` in ABI `A`, names resolved in `S`. */
export type ValueOf<T, A extends Abi, S> = T extends keyof ScalarValues
  ? ScalarValues[T]
  : T extends keyof S
    ? ValueOf<S[T], A, S>
    : T extends readonly ["char", number]
      ? string
      : T extends readonly ["u8", number]
        ? Uint8Array
        : T extends readonly [infer E, number]
          ? ValueOf<E, A, S>[]
          : T extends StructExpression<infer F>
            ? { -readonly [K in keyof PresentFields<F, A>]: ValueOf<PresentFields<F, A>[K], A, S> }
            : T extends UnionExpression<infer F>
              ? { -readonly [K in keyof PresentFields<F, A>]: ValueOf<PresentFields<F, A>[K], A, S> }
              : A extends keyof T
                ? ValueOf<T[A], A, S>
                : never;

/** A value of which any part may be missing; {@link Layout.write} leaves the bytes of what is missing alone. */
export type Partially<T> = T extends Uint8Array | string | number | bigint
  ? T
  : T extends (infer E)[]
    ? readonly Partially<E>[]
    : { readonly [K in keyof T]?: Partially<T[K]> };

/** The names of the fields of a type expression in ABI `A`. */
export type FieldNames<T, A extends Abi> = T extends StructExpression<infer F> | UnionExpression<infer F>
  ? keyof PresentFields<F, A> & string
  : A extends keyof T
    ? FieldNames<T[A], A>
    : never;
