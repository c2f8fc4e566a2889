import { ByteBuffer } from "./buffer.ts";
import type { CodeEmitter } from "./code.ts";
import { TYPE, type ValueType } from "./opcodes.ts";

/** A function's parameters and results. */
export interface Signature {
  /** Types of the parameters. */
  readonly parameters: readonly ValueType[];
  /** Types of the results. */
  readonly results: readonly ValueType[];
}

/** Limits of an imported memory, in 64 KiB pages. */
export interface MemoryImport {
  /** First part of the import's name. */
  readonly module: string;
  /** Second part. */
  readonly name: string;
  /** Pages that it must have at least. */
  readonly minimum: number;
  /** Pages that it may have at most; without, any number. */
  readonly maximum?: number;
}

const FUNCREF = 0x70;
/** A module's own function table. */
export interface TableDefinition {
  /** Indices of the functions in its first slots. */
  readonly functions: readonly number[];
  /** Slots to begin with, if more than the functions need. */
  readonly minimum?: number;
  /** Name under which it is exported; not exported when left out. */
  readonly exportName?: string;
}

const SECTION = { type: 1, import: 2, function: 3, table: 4, export: 7, element: 9, code: 10 } as const;

/**
 * Assembles a WebAssembly module of functions around one imported memory.
 * Function imports must be declared before functions; indices are handed out in that order.
 */
export class ModuleBuilder {
  private readonly types: Signature[] = [];
  private readonly imports: { module: string; name: string; type: number }[] = [];
  private readonly functions: { type: number; exportName: string | undefined; code: ByteBuffer | undefined }[] = [];
  private memory: MemoryImport | undefined;
  private table: TableDefinition | undefined;

  /** Index of the function type with this signature. */
  type(signature: Signature): number {
    const key = signatureKey(signature);
    const found = this.types.findIndex((type) => signatureKey(type) === key);
    return found >= 0 ? found : this.types.push(signature) - 1;
  }

  /** Imports the module's memory. */
  importMemory(memory: MemoryImport): void {
    this.memory = memory;
  }

  /** Gives the module a table 0 that begins with `functions`, with room for more up to any size. */
  setTable(table: TableDefinition): void {
    this.table = table;
  }

  /** Imports a function and returns its index. */
  importFunction(module: string, name: string, signature: Signature): number {
    return this.imports.push({ module, name, type: this.type(signature) }) - 1;
  }

  /** Declares a function, so that others can call it, and returns its index; give its code with {@link ModuleBuilder.define}. */
  declare(signature: Signature, exportName?: string): number {
    const entry = { type: this.type(signature), exportName, code: undefined };
    return this.imports.length + this.functions.push(entry) - 1;
  }

  /** Takes over what `emitter` wrote as the body of function `index`; the emitter can be used again. */
  define(index: number, emitter: CodeEmitter): void {
    const entry = this.functions[index - this.imports.length];
    if (entry === undefined) throw new RangeError(`function ${index} was not declared`);
    const code = new ByteBuffer(emitter.body.length + 64);
    emitter.finish(code);
    entry.code = code;
  }

  /** The finished module. */
  toBytes(): Uint8Array {
    const out = new ByteBuffer(1 << 16);
    out.append(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
    section(out, SECTION.type, this.types.length, (part) => {
      for (const type of this.types) {
        part.byte(0x60);
        for (const list of [type.parameters, type.results]) {
          part.unsigned(list.length);
          for (const value of list) part.byte(TYPE[value]);
        }
      }
    });
    section(out, SECTION.import, this.imports.length + (this.memory ? 1 : 0), (part) => {
      for (const item of this.imports) {
        part.name(item.module);
        part.name(item.name);
        part.byte(0);
        part.unsigned(item.type);
      }
      if (this.memory) {
        part.name(this.memory.module);
        part.name(this.memory.name);
        part.byte(2);
        part.byte(this.memory.maximum === undefined ? 0 : 1);
        part.unsigned(this.memory.minimum);
        if (this.memory.maximum !== undefined) part.unsigned(this.memory.maximum);
      }
    });
    section(out, SECTION.function, this.functions.length, (part) => {
      for (const entry of this.functions) part.unsigned(entry.type);
    });
    const { table } = this;
    section(out, SECTION.table, table ? 1 : 0, (part) => {
      part.byte(FUNCREF);
      part.byte(0);
      part.unsigned(Math.max(table?.minimum ?? 0, table?.functions.length ?? 0));
    });
    const exported = this.functions.map((entry, index) => ({ entry, index })).filter(({ entry }) => entry.exportName);
    section(out, SECTION.export, exported.length + (table?.exportName ? 1 : 0), (part) => {
      if (table?.exportName) {
        part.name(table.exportName);
        part.byte(1);
        part.unsigned(0);
      }
      for (const { entry, index } of exported) {
        part.name(entry.exportName ?? "");
        part.byte(0);
        part.unsigned(this.imports.length + index);
      }
    });
    section(out, SECTION.element, table ? 1 : 0, (part) => {
      part.byte(0);
      part.byte(0x41);
      part.byte(0);
      part.byte(0x0b);
      part.unsigned(table?.functions.length ?? 0);
      for (const index of table?.functions ?? []) part.unsigned(index);
    });
    section(out, SECTION.code, this.functions.length, (part) => {
      this.functions.forEach((entry, index) => {
        if (entry.code === undefined) throw new RangeError(`function ${this.imports.length + index} has no code`);
        part.append(entry.code.bytes.subarray(0, entry.code.length));
      });
    });
    return out.toBytes();
  }
}

function signatureKey(signature: Signature): string {
  return `${signature.parameters.join()}>${signature.results.join()}`;
}

function section(out: ByteBuffer, id: number, count: number, write: (part: ByteBuffer) => void): void {
  if (count === 0) return;
  const part = new ByteBuffer(1 << 12);
  part.unsigned(count);
  write(part);
  out.byte(id);
  out.unsigned(part.length);
  out.append(part.bytes.subarray(0, part.length));
}
