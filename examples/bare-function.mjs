// Runs a bare function, machine code and nothing else, with arguments and a result. Run: node examples/bare-function.mjs
import { createBareMachine } from "@paravirt/cpu";
import { assemble } from "@paravirt/x86";

// Any position that suits you; a compiler's output does as well: `gcc -O2 -c f.c && objcopy -O binary f.o f.bin`.
const CODE = 0x400000n;
const { bytes, symbols } = assemble(
  `
  gcd:                     ; unsigned long gcd(unsigned long a, unsigned long b)
    mov rax, rdi
  step:
    test rsi, rsi
    jz done
    xor edx, edx
    div rsi
    mov rax, rsi
    mov rsi, rdx
    jmp step
  done:
    ret
  sum:                     ; double sum(const double *from, long count), as bits in RAX
    xorps xmm0, xmm0
  again:
    addsd xmm0, [rdi]
    add rdi, 8
    dec rsi
    jnz again
    movq rax, xmm0
    ret
  `,
  { address: CODE },
);

const machine = createBareMachine({ memoryBytes: 1 << 20 });
machine.map(CODE, bytes.length, { writable: false });
machine.write(CODE, bytes);

const answer = machine.call(symbols.get("gcd"), [1071n, 462n]);
console.log(`gcd(1071, 462): ${answer.reason} ${answer.value}`);

// A pointer argument: put the data where the function may read it.
const DATA = 0x500000n;
const numbers = Float64Array.from({ length: 100_000 }, (_, index) => index / 2);
machine.map(DATA, numbers.byteLength + 4096);
machine.write(DATA, new Uint8Array(numbers.buffer));
const sum = machine.call(symbols.get("sum"), [DATA, numbers.length]);
console.log(
  `sum: ${new Float64Array(BigUint64Array.of(sum.value).buffer)[0]}, ${machine.vcpu.instructions} instructions`,
);

// A function that goes wrong is an answer, not an exception; one that doesn't end stops where you say.
const wrong = machine.call(symbols.get("sum"), [0xdead0000n, 1]);
console.log(`sum(0xdead0000, 1): ${wrong.reason} ${wrong.fault?.vector} at 0x${wrong.fault?.address.toString(16)}`);
const endless = machine.call(symbols.get("sum"), [DATA, -1], 10_000);
console.log(`sum(…, -1), 10,000 instructions of it: ${endless.reason}`);
