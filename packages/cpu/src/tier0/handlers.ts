import { type Definition, parseShape, type Shape } from "../definition.ts";
import { type Lowering, STATE } from "../lowering.ts";
import { avxDefinitions } from "../semantics/avx.ts";
import { DEFINITIONS } from "../semantics/index.ts";

/** One instruction form that the interpreter can execute: a definition in one of its shapes. */
export interface Handler {
  readonly slot: number;
  readonly definition: Definition;
  readonly shape: Shape;
  /** Index in the main loop's table; 0 when it is reached through its cold function only. */
  readonly hot: number;
}

/** Records without an instruction of their own: continue at another record, or ask JavaScript. */
export const PSEUDO = {
  goto: "pseudo.goto",
  decode: "pseudo.decode",
  check: "pseudo.check",
  undefined: "pseudo.undefined",
  protected: "pseudo.protected",
  protectedWaiting: "pseudo.protected.waiting",
} as const;

/** x87 status: an exception that isn't masked waits. */
const SUMMARY = 0x80;

function goOn(c: Lowering): void {
  c.uncount();
  c.branch(undefined);
}

const pseudo: readonly Definition[] = [
  { name: PSEUDO.goto, shapes: [""], hot: [""], access: "", emit: goOn },
  { name: PSEUDO.check, shapes: [""], hot: [""], access: "", emit: (c) => c.checkNextPage() },
  { name: PSEUDO.decode, shapes: [""], access: "", emit: (c) => c.service() },
  { name: PSEUDO.undefined, shapes: [""], access: "", emit: (c) => c.raise(6, 0) },
  { name: PSEUDO.protected, shapes: [""], access: "", emit: (c) => c.raise(13, 0) },
  {
    name: PSEUDO.protectedWaiting,
    shapes: [""],
    access: "",
    emit(c) {
      c.state.get32(STATE.fsw);
      c.e.i32(SUMMARY).op("i32_and");
      c.faultIf(16, 0);
      c.raise(13, 0);
    },
  },
];

/** The handlers of all definitions, and how to find one by name and shape. */
export class HandlerTable {
  readonly handlers: readonly Handler[];
  readonly hotCount: number;
  /** Hot handlers that call shared functions: not worth copies of them in translated modules. Known once the interpreter is built. */
  readonly helperUsers: Set<Handler> = new Set();
  /** Handlers that translated code may contain besides those of the main loop; known once the interpreter is built. */
  readonly translated: Set<Handler> = new Set();
  /** So many handlers are of the interpreter's module; those behind them, AVX's if there are any, have a module of their own. */
  readonly baseCount: number;
  private readonly byKey = new Map<string, Handler>();

  constructor(options: { readonly avx?: boolean } = {}) {
    const handlers: Handler[] = [];
    const base = [...pseudo, ...DEFINITIONS];
    let hot = 1;
    for (const definition of options.avx ? [...base, ...avxDefinitions()] : base) {
      for (const text of definition.shapes) {
        const isHot = definition.hot?.includes(text) ?? false;
        const handler: Handler = { slot: handlers.length, definition, shape: parseShape(text), hot: isHot ? hot++ : 0 };
        handlers.push(handler);
        for (const key of keysOf(definition.name, handler.shape)) this.byKey.set(key, handler);
      }
    }
    this.baseCount = base.reduce((count, { shapes }) => count + shapes.length, 0);
    this.handlers = handlers;
    this.hotCount = hot;
  }

  /** The handler for `name` with operands `shape` (`r4m4`; `*` stands for any), or `undefined`. */
  find(name: string, shape: string): Handler | undefined {
    return this.byKey.get(`${name}:${shape}`) ?? this.byKey.get(`${name}:*`);
  }
}

/** A `v` operand is a register or an immediate: both read the bytes that the record points to. */
function keysOf(name: string, shape: Shape): string[] {
  if (shape.text === "*") return [`${name}:*`];
  let keys = [`${name}:`];
  shape.letters.forEach((letter, i) => {
    const size = shape.sizes[i];
    const sizeText = letter === "r" || letter === "v" || letter === "m" || letter === "t" ? String(size) : "";
    const forms = letter === "v" ? [`r${sizeText}`, "i"] : [`${letter}${sizeText}`];
    keys = keys.flatMap((key) => forms.map((form) => key + form));
  });
  return keys;
}
