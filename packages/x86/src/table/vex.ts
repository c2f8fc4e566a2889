// A table of opcodes. Grammar of a row: see parse.ts.

/** A list of `opcode name` to rows. */
const each = (list: string, row: (opcode: string, name: string, rest: readonly string[]) => string): string =>
  list
    .trim()
    .split(/[;\n]/)
    .map((entry) => {
      const [opcode = "", name = "", ...rest] = entry.trim().split(" ");
      return row(opcode, name, rest);
    })
    .join("\n");

/** Three-operand integer operations of map 0F, prefix 66; `q` where the last operand stays 128 bits wide (shift counts). */
const INTEGER = `
60 punpcklbw; 61 punpcklwd; 62 punpckldq; 63 packsswb; 64 pcmpgtb; 65 pcmpgtw; 66 pcmpgtd; 67 packuswb; 68 punpckhbw
69 punpckhwd; 6a punpckhdq; 6b packssdw; 6c punpcklqdq; 6d punpckhqdq; 74 pcmpeqb; 75 pcmpeqw; 76 pcmpeqd
d1 psrlw q; d2 psrld q; d3 psrlq q; d4 paddq; d5 pmullw; d8 psubusb; d9 psubusw; da pminub; db pand; dc paddusb; dd paddusw
de pmaxub; df pandn; e0 pavgb; e1 psraw q; e2 psrad q; e3 pavgw; e4 pmulhuw; e5 pmulhw; e8 psubsb; e9 psubsw; ea pminsw
eb por; ec paddsb; ed paddsw; ee pmaxsw; ef pxor; f1 psllw q; f2 pslld q; f3 psllq q; f4 pmuludq; f5 pmaddwd; f6 psadbw
f8 psubb; f9 psubw; fa psubd; fb psubq; fc paddb; fd paddw; fe paddd`;

const INTEGER_38 = `
00 pshufb; 01 phaddw; 02 phaddd; 03 phaddsw; 04 pmaddubsw; 05 phsubw; 06 phsubd; 07 phsubsw; 08 psignb; 09 psignw; 0a psignd
0b pmulhrsw; 28 pmuldq; 29 pcmpeqq; 2b packusdw; 37 pcmpgtq; 38 pminsb; 39 pminsd; 3a pminuw; 3b pminud; 3c pmaxsb
3d pmaxsd; 3e pmaxuw; 3f pmaxud; 40 pmulld`;

/** Feature of the 128-bit and the 256-bit form of an integer operation. */
const integer = (map: string) => (opcode: string, name: string, rest: readonly string[]) =>
  `
[avx]
vex 66 ${map} ${opcode} l0 | v${name} | =Vx Hx Wx |
[avx2]
vex 66 ${map} ${opcode} l1 | v${name} | =Vx Hx ${rest[0] === "q" ? "Wdq" : "Wx"} |`;

const extend = (opcode: string, name: string, [size = ""]: readonly string[]): string => `
[avx]
vex 66 0f38 ${opcode} l0 | v${name} | =Vx W${size} |
[avx2]
vex 66 0f38 ${opcode} l1 | v${name} | =Vx W${size} |`;

const EXTEND = `
1c pabsb x; 1d pabsw x; 1e pabsd x; 20 pmovsxbw h; 21 pmovsxbd f; 22 pmovsxbq e; 23 pmovsxwd h; 24 pmovsxwq f; 25 pmovsxdq h
30 pmovzxbw h; 31 pmovzxbd f; 32 pmovzxbq e; 33 pmovzxwd h; 34 pmovzxwq f; 35 pmovzxdq h`;

const floats = (opcode: string, name: string, kinds: string): string =>
  [
    ["ps", "np", "Wx"],
    ["pd", "66", "Wx"],
    ["ss", "f3", "Wss"],
    ["sd", "f2", "Wsd"],
  ]
    .filter(([kind = ""]) => kinds.includes(kind))
    .map(([kind, prefix, source]) => `vex ${prefix} 0f ${opcode} | v${name}${kind} | =Vx Hx ${source} |`)
    .join("\n")
    .replaceAll(/(s[sd] \|) =Vx Hx/g, "$1 =Vdq Hdq");

const FLOATS = [
  floats("51", "sqrt", "ss sd"),
  floats("52", "rsqrt", "ss"),
  floats("53", "rcp", "ss"),
  floats("54", "and", "ps pd"),
  floats("55", "andn", "ps pd"),
  floats("56", "or", "ps pd"),
  floats("57", "xor", "ps pd"),
  floats("58", "add", "ps pd ss sd"),
  floats("59", "mul", "ps pd ss sd"),
  floats("5c", "sub", "ps pd ss sd"),
  floats("5d", "min", "ps pd ss sd"),
  floats("5e", "div", "ps pd ss sd"),
  floats("5f", "max", "ps pd ss sd"),
  floats("14", "unpckl", "ps pd"),
  floats("15", "unpckh", "ps pd"),
].join("\n");

const shiftGroups = [
  ["71", "2 psrlw", "4 psraw", "6 psllw"],
  ["72", "2 psrld", "4 psrad", "6 pslld"],
  ["73", "2 psrlq", "3 psrldq", "6 psllq", "7 pslldq"],
]
  .flatMap(([opcode, ...members]) =>
    members.map((member) => {
      const [digit, name] = member.split(" ");
      return `
[avx]
vex 66 0f ${opcode} /${digit} l0 | v${name} | =Hx Ux Iub |
[avx2]
vex 66 0f ${opcode} /${digit} l1 | v${name} | =Hx Ux Iub |`;
    }),
  )
  .join("");

/** FMA3: three operand orders of each operation; packed and scalar. */
const fma = ["132", "213", "231"]
  .flatMap((order, index) => {
    const row = (low: number, name: string, scalar: boolean): string => {
      const opcode = (((9 + index) << 4) | low).toString(16);
      return [
        [0, scalar ? "ss" : "ps", scalar ? "Wss" : "Wx"],
        [1, scalar ? "sd" : "pd", scalar ? "Wsd" : "Wx"],
      ]
        .map(([w, kind, source]) => {
          const registers = scalar ? "+Vdq Hdq" : "+Vx Hx";
          return `vex 66 0f38 ${opcode} w${w} | v${name}${order}${kind} | ${registers} ${source} |`;
        })
        .join("\n");
    };
    return [
      row(0x6, "fmaddsub", false),
      row(0x7, "fmsubadd", false),
      row(0x8, "fmadd", false),
      row(0x9, "fmadd", true),
      row(0xa, "fmsub", false),
      row(0xb, "fmsub", true),
      row(0xc, "fnmadd", false),
      row(0xd, "fnmadd", true),
      row(0xe, "fnmsub", false),
      row(0xf, "fnmsub", true),
    ];
  })
  .join("\n");

/** Instructions behind a VEX prefix: AVX, AVX2, FMA, F16C, BMI, and the VEX forms of AES, PCLMULQDQ, GFNI. */
export const VEX: string = `
${each(INTEGER, integer("0f"))}
${each(INTEGER_38, integer("0f38"))}
${each(EXTEND, extend)}
${shiftGroups}
[avx]
${FLOATS}
vex np 0f 51 | vsqrtps | =Vx Wx |
vex 66 0f 51 | vsqrtpd | =Vx Wx |
vex np 0f 52 | vrsqrtps | =Vx Wx |
vex np 0f 53 | vrcpps | =Vx Wx |
vex np 0f 10 | vmovups | =Vx Wx |
vex np 0f 11 | vmovups | =Wx Vx |
vex 66 0f 10 | vmovupd | =Vx Wx |
vex 66 0f 11 | vmovupd | =Wx Vx |
vex f3 0f 10 mem | vmovss | =Vdq Mss |
vex f3 0f 10 reg | vmovss | =Vdq Hdq Udq |
vex f3 0f 11 mem | vmovss | =Mss Vdq |
vex f3 0f 11 reg | vmovss | =Udq Hdq Vdq |
vex f2 0f 10 mem | vmovsd | =Vdq Msd |
vex f2 0f 10 reg | vmovsd | =Vdq Hdq Udq |
vex f2 0f 11 mem | vmovsd | =Msd Vdq |
vex f2 0f 11 reg | vmovsd | =Udq Hdq Vdq |
vex np 0f 12 l0 mem | vmovlps | =Vx Hx Mq |
vex np 0f 12 l0 reg | vmovhlps | =Vx Hx Ux |
vex np 0f 13 l0 mem | vmovlps | =Mq Vx |
vex np 0f 16 l0 mem | vmovhps | =Vx Hx Mq |
vex np 0f 16 l0 reg | vmovlhps | =Vx Hx Ux |
vex np 0f 17 l0 mem | vmovhps | =Mq Vx |
vex 66 0f 12 l0 mem | vmovlpd | =Vx Hx Mq |
vex 66 0f 13 l0 mem | vmovlpd | =Mq Vx |
vex 66 0f 16 l0 mem | vmovhpd | =Vx Hx Mq |
vex 66 0f 17 l0 mem | vmovhpd | =Mq Vx |
vex f3 0f 12 | vmovsldup | =Vx Wx |
vex f3 0f 16 | vmovshdup | =Vx Wx |
vex f2 0f 12 l0 | vmovddup | =Vx Wq |
vex f2 0f 12 l1 | vmovddup | =Vx Wx |
vex np 0f 28 | vmovaps | =Vx Wx |
vex np 0f 29 | vmovaps | =Wx Vx |
vex 66 0f 28 | vmovapd | =Vx Wx |
vex 66 0f 29 | vmovapd | =Wx Vx |
vex f3 0f 2a | vcvtsi2ss | =Vdq Hdq Ey |
vex f2 0f 2a | vcvtsi2sd | =Vdq Hdq Ey |
vex np 0f 2b mem | vmovntps | =Mx Vx |
vex 66 0f 2b mem | vmovntpd | =Mx Vx |
vex f3 0f 2c | vcvttss2si | =Gy Wss |
vex f2 0f 2c | vcvttsd2si | =Gy Wsd |
vex f3 0f 2d | vcvtss2si | =Gy Wss |
vex f2 0f 2d | vcvtsd2si | =Gy Wsd |
vex np 0f 2e | vucomiss | Vdq Wss | m=zpc 0=osa
vex 66 0f 2e | vucomisd | Vdq Wsd | m=zpc 0=osa
vex np 0f 2f | vcomiss | Vdq Wss | m=zpc 0=osa
vex 66 0f 2f | vcomisd | Vdq Wsd | m=zpc 0=osa
vex np 0f 50 | vmovmskps | =Gd Ux |
vex 66 0f 50 | vmovmskpd | =Gd Ux |
vex np 0f 5a | vcvtps2pd | =Vx Wh |
vex 66 0f 5a | vcvtpd2ps | =Vdq Wx |
vex f3 0f 5a | vcvtss2sd | =Vdq Hdq Wss |
vex f2 0f 5a | vcvtsd2ss | =Vdq Hdq Wsd |
vex np 0f 5b | vcvtdq2ps | =Vx Wx |
vex 66 0f 5b | vcvtps2dq | =Vx Wx |
vex f3 0f 5b | vcvttps2dq | =Vx Wx |
vex 66 0f e6 | vcvttpd2dq | =Vdq Wx |
vex f3 0f e6 | vcvtdq2pd | =Vx Wh |
vex f2 0f e6 | vcvtpd2dq | =Vdq Wx |
vex 66 0f 6e l0 | vmovd=vmovd/vmovd/vmovq | =Vx Ey |
vex 66 0f 7e l0 | vmovd=vmovd/vmovd/vmovq | =Ey Vx |
vex f3 0f 7e l0 | vmovq | =Vx Wq |
vex 66 0f d6 l0 | vmovq | =Wq Vx |
vex 66 0f 6f | vmovdqa | =Vx Wx |
vex 66 0f 7f | vmovdqa | =Wx Vx |
vex f3 0f 6f | vmovdqu | =Vx Wx |
vex f3 0f 7f | vmovdqu | =Wx Vx |
vex 66 0f 70 l0 | vpshufd | =Vx Wx Iub |
vex f3 0f 70 l0 | vpshufhw | =Vx Wx Iub |
vex f2 0f 70 l0 | vpshuflw | =Vx Wx Iub |
vex np 0f 77 l0 | vzeroupper | |
vex np 0f 77 l1 | vzeroall | |
vex 66 0f 7c | vhaddpd | =Vx Hx Wx |
vex f2 0f 7c | vhaddps | =Vx Hx Wx |
vex 66 0f 7d | vhsubpd | =Vx Hx Wx |
vex f2 0f 7d | vhsubps | =Vx Hx Wx |
vex 66 0f d0 | vaddsubpd | =Vx Hx Wx |
vex f2 0f d0 | vaddsubps | =Vx Hx Wx |
vex np 0f ae /2 l0 mem | vldmxcsr | Md |
vex np 0f ae /3 l0 mem | vstmxcsr | =Md |
vex np 0f c2 | vcmpps | =Vx Hx Wx Iub | cmp
vex 66 0f c2 | vcmppd | =Vx Hx Wx Iub | cmp
vex f3 0f c2 | vcmpss | =Vdq Hdq Wss Iub | cmp
vex f2 0f c2 | vcmpsd | =Vdq Hdq Wsd Iub | cmp
vex 66 0f c4 l0 | vpinsrw | =Vx Hx Edw Iub |
vex 66 0f c5 l0 | vpextrw | =Gd Ux Iub |
vex np 0f c6 | vshufps | =Vx Hx Wx Iub |
vex 66 0f c6 | vshufpd | =Vx Hx Wx Iub |
vex 66 0f d7 l0 | vpmovmskb | =Gd Ux |
vex 66 0f e7 mem | vmovntdq | =Mx Vx |
vex f2 0f f0 mem | vlddqu | =Vx Mx |
vex 66 0f f7 l0 | vmaskmovdqu | Vx Ux | R=rdi segdst
vex 66 0f38 0c w0 | vpermilps | =Vx Hx Wx |
vex 66 0f38 0d w0 | vpermilpd | =Vx Hx Wx |
vex 66 0f38 0e w0 | vtestps | Vx Wx | m=zc 0=osap
vex 66 0f38 0f w0 | vtestpd | Vx Wx | m=zc 0=osap
vex 66 0f38 17 | vptest | Vx Wx | m=zc 0=osap
vex 66 0f38 18 w0 mem | vbroadcastss | =Vx Mss |
vex 66 0f38 19 w0 l1 mem | vbroadcastsd | =Vx Msd |
vex 66 0f38 1a w0 l1 mem | vbroadcastf128 | =Vx Mdq |
vex 66 0f38 2a l0 mem | vmovntdqa | =Vx Mx |
vex 66 0f38 2c w0 mem | vmaskmovps | =Vx Hx Mx |
vex 66 0f38 2d w0 mem | vmaskmovpd | =Vx Hx Mx |
vex 66 0f38 2e w0 mem | vmaskmovps | =Mx Hx Vx |
vex 66 0f38 2f w0 mem | vmaskmovpd | =Mx Hx Vx |
vex 66 0f38 41 l0 | vphminposuw | =Vx Wx |
vex 66 0f3a 04 w0 | vpermilps | =Vx Wx Iub |
vex 66 0f3a 05 w0 | vpermilpd | =Vx Wx Iub |
vex 66 0f3a 06 w0 l1 | vperm2f128 | =Vx Hx Wx Iub |
vex 66 0f3a 08 | vroundps | =Vx Wx Iub |
vex 66 0f3a 09 | vroundpd | =Vx Wx Iub |
vex 66 0f3a 0a | vroundss | =Vdq Hdq Wss Iub |
vex 66 0f3a 0b | vroundsd | =Vdq Hdq Wsd Iub |
vex 66 0f3a 0c | vblendps | =Vx Hx Wx Iub |
vex 66 0f3a 0d | vblendpd | =Vx Hx Wx Iub |
vex 66 0f3a 0e l0 | vpblendw | =Vx Hx Wx Iub |
vex 66 0f3a 0f l0 | vpalignr | =Vx Hx Wx Iub |
vex 66 0f3a 14 l0 | vpextrb | =Eyb Vx Iub |
vex 66 0f3a 15 l0 | vpextrw | =Eyw Vx Iub |
vex 66 0f3a 16 l0 | vpextrd=vpextrd/vpextrd/vpextrq | =Ey Vx Iub |
vex 66 0f3a 17 l0 | vextractps | =Ed Vx Iub |
vex 66 0f3a 18 w0 l1 | vinsertf128 | =Vx Hx Wdq Iub |
vex 66 0f3a 19 w0 l1 | vextractf128 | =Wdq Vx Iub |
vex 66 0f3a 20 l0 | vpinsrb | =Vx Hx Edb Iub |
vex 66 0f3a 21 l0 | vinsertps | =Vx Hx Wd Iub |
vex 66 0f3a 22 l0 | vpinsrd=vpinsrd/vpinsrd/vpinsrq | =Vx Hx Ey Iub |
vex 66 0f3a 40 | vdpps | =Vx Hx Wx Iub |
vex 66 0f3a 41 l0 | vdppd | =Vx Hx Wx Iub |
vex 66 0f3a 42 l0 | vmpsadbw | =Vx Hx Wx Iub |
vex 66 0f3a 4a w0 | vblendvps | =Vx Hx Wx Lx |
vex 66 0f3a 4b w0 | vblendvpd | =Vx Hx Wx Lx |
vex 66 0f3a 4c w0 l0 | vpblendvb | =Vx Hx Wx Lx |
vex 66 0f3a 60 l0 | vpcmpestrm | Vx Wx Iub | m=oszc 0=ap R=rax,rdx W=xmm0
vex 66 0f3a 61 l0 | vpcmpestri | Vx Wx Iub | m=oszc 0=ap R=rax,rdx W=rcx
vex 66 0f3a 62 l0 | vpcmpistrm | Vx Wx Iub | m=oszc 0=ap W=xmm0
vex 66 0f3a 63 l0 | vpcmpistri | Vx Wx Iub | m=oszc 0=ap W=rcx
[avx2]
vex 66 0f 70 l1 | vpshufd | =Vx Wx Iub |
vex f3 0f 70 l1 | vpshufhw | =Vx Wx Iub |
vex f2 0f 70 l1 | vpshuflw | =Vx Wx Iub |
vex 66 0f d7 l1 | vpmovmskb | =Gd Ux |
vex 66 0f38 16 w0 l1 | vpermps | =Vx Hx Wx |
vex 66 0f38 18 w0 reg | vbroadcastss | =Vx Udq |
vex 66 0f38 19 w0 l1 reg | vbroadcastsd | =Vx Udq |
vex 66 0f38 2a l1 mem | vmovntdqa | =Vx Mx |
vex 66 0f38 36 w0 l1 | vpermd | =Vx Hx Wx |
vex 66 0f38 45 w0 | vpsrlvd | =Vx Hx Wx |
vex 66 0f38 45 w1 | vpsrlvq | =Vx Hx Wx |
vex 66 0f38 46 w0 | vpsravd | =Vx Hx Wx |
vex 66 0f38 47 w0 | vpsllvd | =Vx Hx Wx |
vex 66 0f38 47 w1 | vpsllvq | =Vx Hx Wx |
vex 66 0f38 58 w0 | vpbroadcastd | =Vx Wd |
vex 66 0f38 59 w0 | vpbroadcastq | =Vx Wq |
vex 66 0f38 5a w0 l1 mem | vbroadcasti128 | =Vx Mdq |
vex 66 0f38 78 w0 | vpbroadcastb | =Vx Wb |
vex 66 0f38 79 w0 | vpbroadcastw | =Vx Ww |
vex 66 0f38 8c w0 mem | vpmaskmovd | =Vx Hx Mx |
vex 66 0f38 8c w1 mem | vpmaskmovq | =Vx Hx Mx |
vex 66 0f38 8e w0 mem | vpmaskmovd | =Mx Hx Vx |
vex 66 0f38 8e w1 mem | vpmaskmovq | =Mx Hx Vx |
vex 66 0f38 90 w0 mem | vpgatherdd | ~Vx Md +Hx | vsib vsibx
vex 66 0f38 90 w1 mem | vpgatherdq | ~Vx Mq +Hx | vsib
vex 66 0f38 91 w0 mem | vpgatherqd | ~Vdq Md +Hdq | vsib vsibx
vex 66 0f38 91 w1 mem | vpgatherqq | ~Vx Mq +Hx | vsib vsibx
vex 66 0f38 92 w0 mem | vgatherdps | ~Vx Md +Hx | vsib vsibx
vex 66 0f38 92 w1 mem | vgatherdpd | ~Vx Mq +Hx | vsib
vex 66 0f38 93 w0 mem | vgatherqps | ~Vdq Md +Hdq | vsib vsibx
vex 66 0f38 93 w1 mem | vgatherqpd | ~Vx Mq +Hx | vsib vsibx
vex 66 0f3a 00 w1 l1 | vpermq | =Vx Wx Iub |
vex 66 0f3a 01 w1 l1 | vpermpd | =Vx Wx Iub |
vex 66 0f3a 02 w0 | vpblendd | =Vx Hx Wx Iub |
vex 66 0f3a 0e l1 | vpblendw | =Vx Hx Wx Iub |
vex 66 0f3a 0f l1 | vpalignr | =Vx Hx Wx Iub |
vex 66 0f3a 38 w0 l1 | vinserti128 | =Vx Hx Wdq Iub |
vex 66 0f3a 39 w0 l1 | vextracti128 | =Wdq Vx Iub |
vex 66 0f3a 42 l1 | vmpsadbw | =Vx Hx Wx Iub |
vex 66 0f3a 46 w0 l1 | vperm2i128 | =Vx Hx Wx Iub |
vex 66 0f3a 4c w0 l1 | vpblendvb | =Vx Hx Wx Lx |
[fma]
${fma}
[f16c]
vex 66 0f38 13 w0 | vcvtph2ps | =Vx Wh |
vex 66 0f3a 1d w0 | vcvtps2ph | =Wh Vx Iub |
[aes]
vex 66 0f38 db l0 | vaesimc | =Vx Wx |
vex 66 0f3a df l0 | vaeskeygenassist | =Vx Wx Iub |
[vaes]
vex 66 0f38 dc | vaesenc | =Vx Hx Wx |
vex 66 0f38 dd | vaesenclast | =Vx Hx Wx |
vex 66 0f38 de | vaesdec | =Vx Hx Wx |
vex 66 0f38 df | vaesdeclast | =Vx Hx Wx |
[vpclmulqdq]
vex 66 0f3a 44 | vpclmulqdq | =Vx Hx Wx Iub |
[gfni]
vex 66 0f38 cf w0 | vgf2p8mulb | =Vx Hx Wx |
vex 66 0f3a ce w1 | vgf2p8affineqb | =Vx Hx Wx Iub |
vex 66 0f3a cf w1 | vgf2p8affineinvqb | =Vx Hx Wx Iub |
[bmi1]
vex np 0f38 f2 l0 | andn | =Gy By Ey | m=sz 0=oc u=ap
vex np 0f38 f3 /1 l0 | blsr | =By Ey | m=szc 0=o u=ap
vex np 0f38 f3 /2 l0 | blsmsk | =By Ey | m=sc 0=zo u=ap
vex np 0f38 f3 /3 l0 | blsi | =By Ey | m=szc 0=o u=ap
vex np 0f38 f7 l0 | bextr | =Gy Ey By | m=z 0=oc u=sap
[bmi2]
vex np 0f38 f5 l0 | bzhi | =Gy Ey By | m=szc 0=o u=ap
vex f3 0f38 f5 l0 | pext | =Gy By Ey |
vex f2 0f38 f5 l0 | pdep | =Gy By Ey |
vex f2 0f38 f6 l0 | mulx | =Gy =By Ey | R=rdx
vex 66 0f38 f7 l0 | shlx | =Gy Ey By |
vex f3 0f38 f7 l0 | sarx | =Gy Ey By |
vex f2 0f38 f7 l0 | shrx | =Gy Ey By |
vex f2 0f3a f0 l0 | rorx | =Gy Ey Iub |
`;
