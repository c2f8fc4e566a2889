// A table of opcodes. Grammar of a row: see parse.ts.

/** Integer operations that exist on MMX registers (no prefix) and on XMM registers (66). */
const INTEGER = `
60 punpcklbw +; 61 punpcklwd +; 62 punpckldq +; 63 packsswb +; 64 pcmpgtb +; 65 pcmpgtw +; 66 pcmpgtd +; 67 packuswb +
68 punpckhbw +; 69 punpckhwd +; 6a punpckhdq +; 6b packssdw +; 74 pcmpeqb +; 75 pcmpeqw +; 76 pcmpeqd +
d1 psrlw +; d2 psrld +; d3 psrlq +; d5 pmullw +; d8 psubusb +; d9 psubusw +; db pand +; dc paddusb +; dd paddusw +; df pandn +
e1 psraw +; e2 psrad +; e5 pmulhw +; e8 psubsb +; e9 psubsw +; eb por +; ec paddsb +; ed paddsw +; ef pxor +
f1 psllw +; f2 pslld +; f3 psllq +; f5 pmaddwd +; f8 psubb +; f9 psubw +; fa psubd +; fc paddb +; fd paddw +; fe paddd +`;
/** The same, added to MMX registers by SSE (feature of the MMX form) and SSE2. */
const INTEGER_SSE = `
da pminub +; de pmaxub +; e0 pavgb +; e3 pavgw +; e4 pmulhuw +; ea pminsw +; ee pmaxsw +; f6 psadbw +`;
const INTEGER_SSE2 = "d4 paddq +; f4 pmuludq +; fb psubq +";
const SSSE3_BOTH = `
00 pshufb +; 01 phaddw +; 02 phaddd +; 03 phaddsw +; 04 pmaddubsw +; 05 phsubw +; 06 phsubd +; 07 phsubsw +; 08 psignb +
09 psignw +; 0a psignd +; 0b pmulhrsw +; 1c pabsb =; 1d pabsw =; 1e pabsd =`;
const SSE41 = `
20 pmovsxbw = h; 21 pmovsxbd = f; 22 pmovsxbq = e; 23 pmovsxwd = h; 24 pmovsxwq = f; 25 pmovsxdq = h; 28 pmuldq +
29 pcmpeqq +; 2b packusdw +; 30 pmovzxbw = h; 31 pmovzxbd = f; 32 pmovzxbq = e; 33 pmovzxwd = h; 34 pmovzxwq = f
35 pmovzxdq = h; 38 pminsb +; 39 pminsd +; 3a pminuw +; 3b pminud +; 3c pmaxsb +; 3d pmaxsd +; 3e pmaxuw +; 3f pmaxud +
40 pmulld +; 41 phminposuw =`;

const each = (list: string, row: (opcode: string, name: string, access: string, size: string) => string): string =>
  list
    .trim()
    .split(/[;\n]/)
    .map((entry) => {
      const [opcode = "", name = "", access = "", size = "x"] = entry.trim().split(" ");
      return row(opcode, name, access, size);
    })
    .join("\n");

const mmx = (map: string) => (opcode: string, name: string, access: string) =>
  `np ${map} ${opcode} | ${name} | ${access}Pq Qq |`;
/** The MMX forms of the unpack-low operations read only 32 bits of memory. */
const mmxOriginal = (opcode: string, name: string, access: string): string =>
  `np 0f ${opcode} | ${name} | ${access}Pq ${opcode < "63" ? "Qd" : "Qq"} |`;
const xmm = (map: string) => (opcode: string, name: string, access: string, size: string) =>
  `66 ${map} ${opcode} | ${name} | ${access}Vx W${size} |`;

/** ps (no prefix), pd (66), ss (F3), sd (F2) forms of one operation. */
const floats = (opcode: string, name: string, access: string, kinds: string): string =>
  [
    ["ps", "np", "sse", "Wx"],
    ["pd", "66", "sse2", "Wx"],
    ["ss", "f3", "sse", "Wss"],
    ["sd", "f2", "sse2", "Wsd"],
  ]
    .filter(([kind = ""]) => kinds.includes(kind))
    .map(
      ([kind, prefix, feature, source]) =>
        `[${feature}]\n${prefix} 0f ${opcode} | ${name}${kind} | ${access}Vx ${source} |`,
    )
    .join("\n");

const FLOATS = [
  floats("51", "sqrt", "=", "ps pd"),
  floats("51", "sqrt", "+", "ss sd"),
  floats("52", "rsqrt", "=", "ps"),
  floats("52", "rsqrt", "+", "ss"),
  floats("53", "rcp", "=", "ps"),
  floats("53", "rcp", "+", "ss"),
  floats("54", "and", "+", "ps pd"),
  floats("55", "andn", "+", "ps pd"),
  floats("56", "or", "+", "ps pd"),
  floats("57", "xor", "+", "ps pd"),
  floats("58", "add", "+", "ps pd ss sd"),
  floats("59", "mul", "+", "ps pd ss sd"),
  floats("5c", "sub", "+", "ps pd ss sd"),
  floats("5d", "min", "+", "ps pd ss sd"),
  floats("5e", "div", "+", "ps pd ss sd"),
  floats("5f", "max", "+", "ps pd ss sd"),
  floats("14", "unpckl", "+", "ps pd"),
  floats("15", "unpckh", "+", "ps pd"),
].join("\n");

const shiftGroups = [
  ["71", "2 psrlw", "4 psraw", "6 psllw"],
  ["72", "2 psrld", "4 psrad", "6 pslld"],
  ["73", "2 psrlq", "6 psllq"],
]
  .flatMap(([opcode, ...members]) =>
    members.map((member) => {
      const [digit, name] = member.split(" ");
      return `[mmx]\nnp 0f ${opcode} /${digit} | ${name} | +Nq Iub |\n[sse2]\n66 0f ${opcode} /${digit} | ${name} | +Ux Iub |`;
    }),
  )
  .join("\n");

/** MMX, SSE, SSE2, SSE3, SSSE3, SSE4.1, SSE4.2, AES, PCLMUL, SHA, GFNI: everything without a VEX prefix. */
export const SSE: string = `
[mmx]
${each(INTEGER, mmxOriginal)}
np 0f 77 | emms | |
np 0f 6e | movd=movd/movd/movq | =Pq Ey |
np 0f 7e | movd=movd/movd/movq | =Ey Pq |
np 0f 6f | movq | =Pq Qq |
np 0f 7f | movq | =Qq Pq |
[sse]
${each(INTEGER_SSE, mmx("0f"))}
np 0f 70 | pshufw | =Pq Qq Iub |
np 0f c4 | pinsrw | +Pq Edw Iub | nt66
np 0f c5 | pextrw | =Gd Nq Iub | nt66
np 0f d7 | pmovmskb | =Gd Nq |
np 0f e7 mem | movntq | =Mq Pq |
np 0f f7 | maskmovq | Pq Nq | R=rdi segdst
[sse2]
${each(INTEGER_SSE2, mmx("0f"))}
${each(INTEGER, xmm("0f"))}
${each(INTEGER_SSE, xmm("0f"))}
${each(INTEGER_SSE2, xmm("0f"))}
${shiftGroups}
66 0f 73 /3 | psrldq | +Ux Iub |
66 0f 73 /7 | pslldq | +Ux Iub |
66 0f 6c | punpcklqdq | +Vx Wx |
66 0f 6d | punpckhqdq | +Vx Wx |
66 0f 6e | movd=movd/movd/movq | =Vx Ey |
66 0f 7e | movd=movd/movd/movq | =Ey Vx |
66 0f 6f | movdqa | =Vx Wx |
66 0f 7f | movdqa | =Wx Vx |
f3 0f 6f | movdqu | =Vx Wx |
f3 0f 7f | movdqu | =Wx Vx |
66 0f 70 | pshufd | =Vx Wx Iub |
f3 0f 70 | pshufhw | =Vx Wx Iub |
f2 0f 70 | pshuflw | =Vx Wx Iub |
66 0f c4 | pinsrw | +Vx Edw Iub |
66 0f c5 | pextrw | =Gd Ux Iub |
66 0f d7 | pmovmskb | =Gd Ux |
66 0f d6 | movq | =Wq Vx |
f3 0f 7e | movq | =Vx Wq |
f3 0f d6 | movq2dq | =Vx Nq |
f2 0f d6 | movdq2q | =Pq Ux |
66 0f e7 mem | movntdq | =Mx Vx |
66 0f f7 | maskmovdqu | Vx Ux | R=rdi segdst
${FLOATS}
[sse]
np 0f 10 | movups | =Vx Wx |
np 0f 11 | movups | =Wx Vx |
f3 0f 10 mem | movss | =Vx Mss |
f3 0f 10 reg | movss | +Vx Ux |
f3 0f 11 mem | movss | =Mss Vx |
f3 0f 11 reg | movss | +Ux Vx |
np 0f 12 mem | movlps | +Vx Mq |
np 0f 12 reg | movhlps | +Vx Ux |
np 0f 13 mem | movlps | =Mq Vx |
np 0f 16 mem | movhps | +Vx Mq |
np 0f 16 reg | movlhps | +Vx Ux |
np 0f 17 mem | movhps | =Mq Vx |
np 0f 28 | movaps | =Vx Wx |
np 0f 29 | movaps | =Wx Vx |
np 0f 2a | cvtpi2ps | +Vx Qq |
f3 0f 2a | cvtsi2ss | +Vx Ey |
np 0f 2b mem | movntps | =Mx Vx |
np 0f 2c | cvttps2pi | =Pq Wq |
f3 0f 2c | cvttss2si | =Gy Wss |
np 0f 2d | cvtps2pi | =Pq Wq |
f3 0f 2d | cvtss2si | =Gy Wss |
np 0f 2e | ucomiss | Vx Wss | m=zpc 0=osa
np 0f 2f | comiss | Vx Wss | m=zpc 0=osa
np 0f 50 | movmskps | =Gd Ux |
np 0f c2 | cmpps | +Vx Wx Iub | cmp
f3 0f c2 | cmpss | +Vx Wss Iub | cmp
np 0f c6 | shufps | +Vx Wx Iub |
np 0f ae /2 mem | ldmxcsr | Md |
np 0f ae /3 mem | stmxcsr | =Md |
np 0f ae /7 reg | sfence | |
[sse2]
66 0f 10 | movupd | =Vx Wx |
66 0f 11 | movupd | =Wx Vx |
f2 0f 10 mem | movsd | =Vx Msd |
f2 0f 10 reg | movsd | +Vx Ux |
f2 0f 11 mem | movsd | =Msd Vx |
f2 0f 11 reg | movsd | +Ux Vx |
66 0f 12 mem | movlpd | +Vx Mq |
66 0f 13 mem | movlpd | =Mq Vx |
66 0f 16 mem | movhpd | +Vx Mq |
66 0f 17 mem | movhpd | =Mq Vx |
66 0f 28 | movapd | =Vx Wx |
66 0f 29 | movapd | =Wx Vx |
66 0f 2a | cvtpi2pd | =Vx Qq |
f2 0f 2a | cvtsi2sd | +Vx Ey |
66 0f 2b mem | movntpd | =Mx Vx |
66 0f 2c | cvttpd2pi | =Pq Wx |
f2 0f 2c | cvttsd2si | =Gy Wsd |
66 0f 2d | cvtpd2pi | =Pq Wx |
f2 0f 2d | cvtsd2si | =Gy Wsd |
66 0f 2e | ucomisd | Vx Wsd | m=zpc 0=osa
66 0f 2f | comisd | Vx Wsd | m=zpc 0=osa
66 0f 50 | movmskpd | =Gd Ux |
np 0f 5a | cvtps2pd | =Vx Wq |
66 0f 5a | cvtpd2ps | =Vx Wx |
f3 0f 5a | cvtss2sd | +Vx Wss |
f2 0f 5a | cvtsd2ss | +Vx Wsd |
np 0f 5b | cvtdq2ps | =Vx Wx |
66 0f 5b | cvtps2dq | =Vx Wx |
f3 0f 5b | cvttps2dq | =Vx Wx |
66 0f e6 | cvttpd2dq | =Vx Wx |
f3 0f e6 | cvtdq2pd | =Vx Wq |
f2 0f e6 | cvtpd2dq | =Vx Wx |
66 0f c2 | cmppd | +Vx Wx Iub | cmp
f2 0f c2 | cmpsd | +Vx Wsd Iub | cmp
66 0f c6 | shufpd | +Vx Wx Iub |
np 0f ae /5 reg | lfence | |
np 0f ae /6 reg | mfence | |
np 0f ae /7 mem | clflush | @Mb |
[sse3]
f3 0f 12 | movsldup | =Vx Wx |
f2 0f 12 | movddup | =Vx Wq |
f3 0f 16 | movshdup | =Vx Wx |
66 0f 7c | haddpd | +Vx Wx |
f2 0f 7c | haddps | +Vx Wx |
66 0f 7d | hsubpd | +Vx Wx |
f2 0f 7d | hsubps | +Vx Wx |
66 0f d0 | addsubpd | +Vx Wx |
f2 0f d0 | addsubps | +Vx Wx |
f2 0f f0 mem | lddqu | =Vx Mx |
[ssse3]
${each(SSSE3_BOTH, mmx("0f38"))}
${each(SSSE3_BOTH, xmm("0f38"))}
np 0f3a 0f | palignr | +Pq Qq Iub |
66 0f3a 0f | palignr | +Vx Wx Iub |
[sse4.1]
${each(SSE41, xmm("0f38"))}
66 0f38 10 | pblendvb | +Vx Wx XMM0 |
66 0f38 14 | blendvps | +Vx Wx XMM0 |
66 0f38 15 | blendvpd | +Vx Wx XMM0 |
66 0f38 17 | ptest | Vx Wx | m=zc 0=osap
66 0f38 2a mem | movntdqa | =Vx Mx |
66 0f3a 08 | roundps | =Vx Wx Iub |
66 0f3a 09 | roundpd | =Vx Wx Iub |
66 0f3a 0a | roundss | +Vx Wss Iub |
66 0f3a 0b | roundsd | +Vx Wsd Iub |
66 0f3a 0c | blendps | +Vx Wx Iub |
66 0f3a 0d | blendpd | +Vx Wx Iub |
66 0f3a 0e | pblendw | +Vx Wx Iub |
66 0f3a 14 | pextrb | =Eyb Vx Iub |
66 0f3a 15 | pextrw | =Eyw Vx Iub |
66 0f3a 16 | pextrd=pextrd/pextrd/pextrq | =Ey Vx Iub |
66 0f3a 17 | extractps | =Ed Vx Iub |
66 0f3a 20 | pinsrb | +Vx Edb Iub |
66 0f3a 21 | insertps | +Vx Wd Iub |
66 0f3a 22 | pinsrd=pinsrd/pinsrd/pinsrq | +Vx Ey Iub |
66 0f3a 40 | dpps | +Vx Wx Iub |
66 0f3a 41 | dppd | +Vx Wx Iub |
66 0f3a 42 | mpsadbw | +Vx Wx Iub |
[sse4.2]
66 0f38 37 | pcmpgtq | +Vx Wx |
66 0f3a 60 | pcmpestrm | Vx Wx Iub | m=oszc 0=ap R=rax,rdx W=xmm0
66 0f3a 61 | pcmpestri | Vx Wx Iub | m=oszc 0=ap R=rax,rdx W=rcx
66 0f3a 62 | pcmpistrm | Vx Wx Iub | m=oszc 0=ap W=xmm0
66 0f3a 63 | pcmpistri | Vx Wx Iub | m=oszc 0=ap W=rcx
[sse4a]
66 0f 78 /0 reg | extrq | +Ux Iub Ib2 |
66 0f 79 reg | extrq | +Vx Ux |
f2 0f 78 reg | insertq | +Vx Ux Iub Ib2 |
f2 0f 79 reg | insertq | +Vx Ux |
f3 0f 2b mem | movntss | =Mss Vx |
f2 0f 2b mem | movntsd | =Msd Vx |
[aes]
66 0f38 db | aesimc | =Vx Wx |
66 0f38 dc | aesenc | +Vx Wx |
66 0f38 dd | aesenclast | +Vx Wx |
66 0f38 de | aesdec | +Vx Wx |
66 0f38 df | aesdeclast | +Vx Wx |
66 0f3a df | aeskeygenassist | =Vx Wx Iub |
[pclmulqdq]
66 0f3a 44 | pclmulqdq | +Vx Wx Iub |
[sha]
np 0f38 c8 | sha1nexte | +Vx Wx |
np 0f38 c9 | sha1msg1 | +Vx Wx |
np 0f38 ca | sha1msg2 | +Vx Wx |
np 0f38 cb | sha256rnds2 | +Vx Wx XMM0 |
np 0f38 cc | sha256msg1 | +Vx Wx |
np 0f38 cd | sha256msg2 | +Vx Wx |
np 0f3a cc | sha1rnds4 | +Vx Wx Iub |
[gfni]
66 0f38 cf | gf2p8mulb | +Vx Wx |
66 0f3a ce | gf2p8affineqb | +Vx Wx Iub |
66 0f3a cf | gf2p8affineinvqb | +Vx Wx Iub |
`;
