import type { Hypercall } from "./hypercall.ts";

/** Calls counted under one name. */
export interface HypercallCount {
  /** How often. */
  readonly calls: number;
  /** By operation, for hypercalls that have several; operations Xen doesn't know are `op N`. */
  readonly operations?: { readonly [name: string]: number };
}

/** Counts hypercalls by number and operation without allocating. */
export class HypercallStatistics {
  private readonly calls = new Float64Array(64);
  private readonly operations = new Float64Array(64 * 64);
  /** Calls with a number outside the table. */
  unknown = 0;

  /** Counts a call of `number`; `operation` -1 when it has none. */
  count(number: number, operation: number): void {
    if (number >= 64) {
      this.unknown++;
      return;
    }
    this.calls[number] = (this.calls[number] as number) + 1;
    if (operation >= 0) this.countOperation(number, operation);
  }

  /** Counts calls of `number` that took place without being dispatched. */
  countMany(number: number, calls: number): void {
    this.calls[number] = (this.calls[number] as number) + calls;
  }

  /** Counts one operation of a batch. */
  countOperation(number: number, operation: number): void {
    const at = number * 64 + Math.min(operation, 63);
    this.operations[at] = (this.operations[at] as number) + 1;
  }

  /** The counts by name. */
  report(table: readonly (Hypercall | undefined)[]): { readonly [name: string]: HypercallCount } {
    const result: { [name: string]: HypercallCount } = {};
    for (let number = 0; number < 64; number++) {
      const calls = this.calls[number] as number;
      if (calls === 0) continue;
      const row = table[number];
      const operations: { [name: string]: number } = {};
      for (let operation = 0; operation < 64; operation++) {
        const count = this.operations[number * 64 + operation] as number;
        if (count === 0) continue;
        const name =
          row?.operations?.find((candidate) => candidate.number === operation)?.name ??
          `op ${operation === 63 ? "63 and above" : operation}`;
        operations[name] = count;
      }
      const name = row?.name ?? `hypercall ${number}`;
      result[name] = Object.keys(operations).length === 0 ? { calls } : { calls, operations };
    }
    if (this.unknown > 0) result.unknown = { calls: this.unknown };
    return result;
  }
}
