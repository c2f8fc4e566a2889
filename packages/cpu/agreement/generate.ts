import {
  call,
  faulting,
  gateCall,
  hostCall,
  indirect,
  integer,
  type LineContext,
  type LineKind,
  loop,
  modeSwitch,
  raw,
  selfModifying,
  singleStep,
  stack,
  strings,
  system,
  vector,
  x87,
} from "./lines.ts";
import { CELLS, GATE_RETURN, HOST_CALL, PLACES, SLOT_BYTES, SLOTS } from "./places.ts";
import type { Line, Program, Section } from "./program.ts";
import { Random } from "./random.ts";

const CONDITIONS = ["o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g"];
const PATCHES = 4;
/** What any program may contain; each one takes a few as its theme, so that hot code stays hot in some of them. */
const THEMES: readonly LineKind[] = [
  stack,
  call,
  indirect,
  loop,
  strings,
  selfModifying,
  faulting,
  modeSwitch,
  gateCall,
  hostCall,
  vector,
  x87,
  system,
  singleStep,
  raw,
];
const LINES32 = [
  "add eax, ecx",
  "inc edx",
  "xor [ebx+64], eax",
  "mov ecx, [ebx+8]",
  "push eax\npop esi",
  "sub edi, 5",
  "imul eax, edx",
  "adc eax, [ebx+4094]",
  "rol ebp, 3",
  "bswap esi",
  "daa",
  "pushad\npopad",
  "lea esi, [eax+ecx*4+7]",
  "setc al",
  "movzx ecx, al",
  "paddd xmm1, xmm2",
  "mov eax, 0x3b\nmov es, eax",
  "mov eax, 0x43\nmov ds, eax",
  "mov eax, 0x43\nmov ss, eax\npush eax\npop ecx\nmov eax, 0x2b\nmov ss, eax",
  "xor eax, eax\nmov ds, eax",
  "mov eax, 0x2b\nmov ds, eax",
  "mov eax, es:[ebx+4090]",
  "aam 10",
  "cmp eax, edx\nja .+3\ninc eax",
];

/** Makes the program of a seed: always the same one. */
export function generateProgram(seed: number): Program {
  const r = new Random(seed);
  const lines: Line[] = [];
  let labels = 0;
  const context: LineContext = { patches: PATCHES, blocks: 1, fresh: () => `l${labels++}` };
  const add = (text: string, section: Section = "main", pinned = false) => lines.push({ section, text, pinned });
  const pin = (text: string, section: Section = "main") => add(text, section, true);

  const themes = Array.from({ length: 1 + r.below(4) }, () => r.pick(THEMES));
  const line = (): string => (r.chance(45) ? integer : r.pick(themes))(r, context);
  const blocks = 2 + r.below(6);
  const rounds = 20 + r.below(r.chance(20) ? 400 : 120);

  add(`mov r15d, ${rounds}`);
  pin("again:");
  let patch = 0;
  for (let block = 0; block < blocks; block++) {
    pin(`block${block}:`);
    for (let count = 1 + r.below(7); count > 0; count--) add(line());
    if (patch < PATCHES && r.chance(60)) patchable(patch++);
    // Forward, so that every round ends; the way back is the loop's own.
    if (r.chance(80)) add(`j${r.pick(CONDITIONS)} block${Math.min(blocks, block + 1 + r.below(4))}`);
    // Some blocks lie beyond others, in the next page perhaps.
    if (r.chance(12)) gap();
  }
  pin(`block${blocks}:`);
  while (patch < PATCHES) patchable(patch++);
  pin("next:");
  pin("dec r15d\njnz again");
  pin(`int ${HOST_CALL.end}`);

  function patchable(number: number): void {
    if (r.chance(20)) {
      // At the end of a page, so that the instruction crosses into the next one.
      const over = context.fresh();
      add(`jmp ${over}\n.zero (${4095 - r.below(4)} - .) & 4095\n${over}:`);
    }
    pin(`patch${number}:`);
    add(".byte 0x05, 1, 0, 0, 0 # add eax, 1");
  }
  function gap(): void {
    const over = context.fresh();
    add(`jmp ${over}\n.zero ${r.chance(50) ? r.below(300) : 3000 + r.below(1090)}\n${over}:`);
  }

  for (let leaf = 0; leaf < 3; leaf++) {
    pin(`leaf${leaf}:`);
    for (let count = r.below(4); count > 0; count--)
      add(r.chance(70) ? integer(r, context) : r.pick([stack, vector, raw])(r, context));
    if (r.chance(20)) add(`call func${r.below(SLOTS)}`);
    pin("ret");
  }
  pin("recursive:");
  add("add rax, rbp");
  add(integer(r, context));
  pin("dec ebp\njle returns\ncall recursive\nreturns:\nret");
  // The guest's own fault handler: the host leaves a frame for IRETQ on the stack.
  pin("handler:");
  add(`inc qword ptr [${PLACES.data + CELLS.faults}]`);
  pin("iretq");
  const gate = themes.includes(gateCall);
  if (gate) {
    // Takes the frame of an entry, works, and leaves a frame for the return.
    pin("kernel:");
    add("pop rcx\npop r11");
    for (let count = r.below(5); count > 0; count--)
      add(r.pick([integer, integer, loop, call, vector, hostCall])(r, context));
    add("push 0\npush rcx\npush r11\npush rax");
    add(`mov eax, ${GATE_RETURN}\nsyscall`);
    pin("jmp next");
  }
  // What the other VCPU does.
  pin("writer:");
  pin("xor byte ptr [rip+patch0], 0x28\ninc byte ptr [rip+patch1+1]\nint3");
  pin("spin:");
  pin("add rax, rcx\nrol rax, 5\ndec ecx\njnz spin\nint3");
  for (let slot = 0; slot < SLOTS; slot++) pin(`func${slot} = ${PLACES.functions + slot * SLOT_BYTES}`);

  for (const section of ["functions", "functionsTwo"] as const) {
    for (let slot = 0; slot < SLOTS; slot++) {
      pin(`.org ${PLACES.functions + slot * SLOT_BYTES}`, section);
      for (let count = 1 + r.below(5); count > 0; count--)
        add(r.chance(80) ? integer(r, context) : vector(r, context), section);
      pin(r.chance(20) ? `jmp leaf${r.below(3)}` : "ret", section);
    }
  }
  for (let slot = 0; slot < SLOTS; slot++) {
    pin(`.org ${PLACES.code32 + slot * SLOT_BYTES}`, "code32");
    for (let count = 1 + r.below(6); count > 0; count--) add(r.pick(LINES32), "code32");
    pin(slot % 2 === 0 ? "retf" : `jmp far fword ptr [ebx+${CELLS.back}]`, "code32");
  }
  const offset = r.chance(30) ? 4096 - 1 - r.below(200) : r.below(2000);
  return { seed, lines, offset, gate };
}
