// Runs a flat 32-bit binary with a console, a device that is read with INS, memory on demand and an instruction of
// our own, all by callbacks. Run: node examples/flat-binary.mjs
import { createBareMachine } from "@paravirt/cpu";
import { assemble } from "@paravirt/x86";

const LOAD = 0x10000n;
const CONSOLE = 0xe9;
const SENSOR = 0x300;
const EXIT = 0xf4;

// Stands for a file: `readFileSync("program.bin")`, linked to run at 0x10000.
const program = assemble(
  `
    mov esi, message
    mov edx, ${CONSOLE}
    mov ecx, ${"Sensor says: ".length}
    rep outsb
    mov edi, 0x200000      ; nothing is mapped there yet
    mov edx, ${SENSOR}
    mov ecx, 4
    rep insd
    mov esi, 0x200000
    mov ecx, 4
  next:
    lodsd
    ud2                    ; in this machine: prints EAX
    loop next
    mov al, 0
    mov edx, ${EXIT}
    out dx, al
  message:
    .ascii "Sensor says: "
  `,
  { mode: 32, address: LOAD },
).bytes;

let text = "";
let reading = 20;
const machine = createBareMachine({
  mode: 32,
  memoryBytes: 1 << 20,
  ports: {
    read: (port, size) => (port === SENSOR ? reading++ : 2 ** (size * 8) - 1),
    write(port, _size, value) {
      if (port === CONSOLE) text += String.fromCharCode(value);
      else if (port === EXIT) machine.stop();
    },
  },
  onFault(fault, self) {
    if (fault.vector === 14 && fault.address < 0x1000000n) {
      console.log(`page fault at 0x${fault.address.toString(16)}: mapped`);
      self.map(fault.address, 1);
      return "resume";
    }
    if (fault.vector === 6) {
      text += `${self.vcpu.regs[0]} `;
      return "skip";
    }
    return "stop";
  },
});
machine.map(LOAD, program.length);
machine.write(LOAD, program);
machine.vcpu.rip = LOAD;

const stop = machine.run(1_000_000);
console.log(text);
console.log(`${stop.reason} after ${machine.vcpu.instructions} instructions`);
