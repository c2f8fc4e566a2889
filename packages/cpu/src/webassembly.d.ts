// The part of the WebAssembly JavaScript interface that the engine uses. Declared here, so that whoever type-checks our
// sources needs no library of browser types for it.
declare namespace WebAssembly {
  interface Memory {
    readonly buffer: ArrayBuffer;
  }
  var Memory: { prototype: Memory; new (descriptor: { initial: number; maximum?: number }): Memory };
  interface Table {
    readonly length: number;
    grow(delta: number): number;
    get(index: number): unknown;
    set(index: number, value?: unknown): void;
  }
  var Table: { prototype: Table; new (descriptor: { element: "anyfunc"; initial: number; maximum?: number }): Table };
  interface Module {
    /** No member that the engine uses; the name keeps other objects out. */
    readonly __module?: never;
  }
  var Module: { prototype: Module; new (bytes: Uint8Array<ArrayBuffer>): Module };
  interface Instance {
    readonly exports: Record<string, unknown>;
  }
  var Instance: {
    prototype: Instance;
    new (module: Module, imports?: Record<string, Record<string, unknown>>): Instance;
  };
}
