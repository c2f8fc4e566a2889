import type { Definition } from "../definition.ts";
import { type Size, STATE } from "../lowering.ts";

const UNDEFINED = 6;
const GENERAL_PROTECTION = 13;
const RAX = 0;
const RCX = 1;
const RDX = 2;
function raising(vector: number, names: readonly string[]): Definition[] {
  return names.map((name) => ({
    name,
    shapes: ["*"],
    access: "",
    emit: (c) => c.raise(vector, 0),
  }));
}

/** At CPL 3 these raise #GP(0); a hypervisor decodes and emulates what it wants to. */
const PRIVILEGED = [
  "cli",
  "sti",
  "hlt",
  "clts",
  "lgdt",
  "lidt",
  "lldt",
  "ltr",
  "lmsw",
  "invlpg",
  "invd",
  "wbinvd",
  "wbnoinvd",
  "rdmsr",
  "wrmsr",
  "rdpmc",
  "swapgs",
  "sysret",
  "sysexit",
  "in",
  "out",
  "ins",
  "outs",
  "rep.ins",
  "rep.outs",
  "repne.ins",
  "repne.outs",
  "xsetbv",
  "invpcid",
  "mov.control",
];

/** These don't exist for this processor at CPL 3. */
const ABSENT = [
  "rsm",
  "ud0",
  "ud1",
  "ud2",
  "vmcall",
  "vmmcall",
  "monitor",
  "mwait",
  "getsec",
  "clac",
  "stac",
  "invalid",
];

/** Executed by the functions of the same names in services. */
const SERVICES = [
  "cpuid",
  "rdpid",
  "sysenter",
  "int",
  "int3",
  "int1",
  "into",
  "iret",
  "mov.segment",
  "push.segment",
  "pop.segment",
  "jmp.far",
  "call.far",
  "retf",
  "les",
  "lds",
  "lss",
  "lfs",
  "lgs",
  "enter",
  "rdrand",
  "rdseed",
  "xgetbv",
  "fxsave",
  "fxrstor",
  "xsave",
  "xsaveopt",
  "xsavec",
  "xrstor",
  "ldmxcsr",
  "smsw",
  "sgdt",
  "sidt",
  "sldt",
  "str",
  "lar",
  "lsl",
  "verr",
  "verw",
  "arpl",
  "bound",
  "aaa",
  "aas",
  "aad",
  "aam",
  "daa",
  "das",
  "pusha",
  "popa",
];

const services: Definition[] = SERVICES.map((name) => ({
  name,
  shapes: ["*"],
  access: "",
  emit: (c) => c.service(),
}));

const syscall: Definition = {
  name: "syscall",
  shapes: ["*"],
  access: "",
  emit(c) {
    c.tryGate();
    c.service();
  },
};

/** As often as guests ask for the time, it is worth a way that doesn't leave the interpreter. */
function readTime(name: "rdtsc" | "rdtscp"): Definition {
  return {
    name,
    shapes: ["*"],
    access: "",
    emit(c) {
      if (!c.whole) {
        c.service();
        return;
      }
      const { e } = c;
      const time = e.temporary("i64");
      c.timestamp();
      e.set(time);
      c.register(RAX).store(8, () => e.get(time).i64Halves(-1, 0).op("i64_and"));
      c.register(RDX).store(8, () => e.get(time).i64(32).op("i64_shr_u"));
      if (name === "rdtscp") c.register(RCX).store(8, () => c.state.get64(STATE.tscAux));
      e.release("i64", time);
    },
  };
}

function baseRegister(name: "rdfsbase" | "rdgsbase" | "wrfsbase" | "wrgsbase"): Definition {
  const address = STATE.segmentBase + (name.includes("fs") ? 4 : 5) * 8;
  const reads = name.startsWith("rd");
  return {
    name,
    shapes: ["r4", "r8"],
    access: reads ? "w" : "r",
    emit(c, [place], shape) {
      const { e } = c;
      const size = shape.sizes[0] as Size;
      if (reads) {
        place!.store(size, () => c.state.get64(address));
        return;
      }
      const value = e.temporary("i64");
      place!.unsigned(size);
      e.set(value);
      e.get(value).i64(16).op("i64_shl").i64(16).op("i64_shr_s").get(value).op("i64_ne");
      c.faultIf(GENERAL_PROTECTION, 0);
      c.state.set64(address, () => e.get(value));
      e.release("i64", value);
    },
  };
}

const stmxcsr: Definition = {
  name: "stmxcsr",
  shapes: ["m4"],
  access: "w",
  emit(c, [place]) {
    place!.store(4, () => c.e.i32(0).mem("i64_load32_u", STATE.mxcsr));
  },
};

/** Privileged, absent and system instructions. */
export const systemDefinitions: readonly Definition[] = [
  ...raising(GENERAL_PROTECTION, PRIVILEGED),
  ...raising(UNDEFINED, ABSENT),
  ...services,
  syscall,
  readTime("rdtsc"),
  readTime("rdtscp"),
  baseRegister("rdfsbase"),
  baseRegister("rdgsbase"),
  baseRegister("wrfsbase"),
  baseRegister("wrgsbase"),
  stmxcsr,
];

/** Names whose definitions end in JavaScript. */
export const SERVICE_NAMES: readonly string[] = [...SERVICES, "syscall"];
