// A table of opcodes; longer than a source file should be. Grammar of a row: see parse.ts.

const ALU = ["add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"];
const hex = (value: number): string => value.toString(16).padStart(2, "0");

/** Flags of the eight ALU operations, in opcode order. */
const ALU_FLAGS = [
  "m=oszapc",
  "m=szp 0=oc u=a",
  "m=oszapc t=c",
  "m=oszapc t=c",
  "m=szp 0=oc u=a",
  "m=oszapc",
  "m=szp 0=oc u=a",
  "m=oszapc",
];

const alu = ALU.map((name, index) => {
  const first = index * 8;
  const to = name === "cmp" ? "" : "+";
  const flags = ALU_FLAGS[index];
  const lock = name === "cmp" ? "" : "lock";
  return `
${hex(first)}     | ${name} | ${to}Eb Gb  | ${flags} ${lock}
${hex(first + 1)} | ${name} | ${to}Ev Gv  | ${flags} ${lock}
${hex(first + 2)} | ${name} | ${to}Gb Eb  | ${flags}
${hex(first + 3)} | ${name} | ${to}Gv Ev  | ${flags}
${hex(first + 4)} | ${name} | ${to}AL Ib  | ${flags}
${hex(first + 5)} | ${name} | ${to}rAX Iz | ${flags}
80 /${index}      | ${name} | ${to}Eb Ib  | ${flags} ${lock}
81 /${index}      | ${name} | ${to}Ev Iz  | ${flags} ${lock}
82 /${index} m32  | ${name} | ${to}Eb Ib  | ${flags} ${lock}
83 /${index}      | ${name} | ${to}Ev Ibs | ${flags} ${lock}`;
}).join("");

const SHIFTS = ["rol", "ror", "rcl", "rcr", "shl", "shr", "shl", "sar"];
const SHIFT_FLAGS = [
  "m=oc",
  "m=oc",
  "m=oc t=c",
  "m=oc t=c",
  "m=oszpc u=a",
  "m=oszpc u=a",
  "m=oszpc u=a",
  "m=oszpc u=a",
];

const shifts = SHIFTS.map(
  (name, index) => `
c0 /${index} | ${name} | +Eb Iub | ${SHIFT_FLAGS[index]}
c1 /${index} | ${name} | +Ev Iub | ${SHIFT_FLAGS[index]}
d0 /${index} | ${name} | +Eb ONE | ${SHIFT_FLAGS[index]}
d1 /${index} | ${name} | +Ev ONE | ${SHIFT_FLAGS[index]}
d2 /${index} | ${name} | +Eb CL  | ${SHIFT_FLAGS[index]}
d3 /${index} | ${name} | +Ev CL  | ${SHIFT_FLAGS[index]}`,
).join("");

/** General-purpose instructions of all modes. */
export const GENERAL: string = `
[general]
${alu}
${shifts}
06 m32 | push | ES | d64 sized R=rsp W=rsp
07 m32 | pop  | =ES | d64 sized R=rsp W=rsp
0e m32 | push | CS | d64 sized R=rsp W=rsp
16 m32 | push | SS | d64 sized R=rsp W=rsp
17 m32 | pop  | =SS | d64 sized R=rsp W=rsp
1e m32 | push | DS | d64 sized R=rsp W=rsp
1f m32 | pop  | =DS | d64 sized R=rsp W=rsp
0f a0  | push | FS | d64 sized R=rsp W=rsp
0f a1  | pop  | =FS | d64 sized R=rsp W=rsp
0f a8  | push | GS | d64 sized R=rsp W=rsp
0f a9  | pop  | =GS | d64 sized R=rsp W=rsp
27 m32 | daa  | | m=szapc t=ac u=o R=al W=al
2f m32 | das  | | m=szapc t=ac u=o R=al W=al
37 m32 | aaa  | | m=ac t=a u=oszp R=ax W=ax
3f m32 | aas  | | m=ac t=a u=oszp R=ax W=ax
40+r m32 | inc | +Zv | m=oszap
48+r m32 | dec | +Zv | m=oszap
50+r | push | Zv | d64 R=rsp W=rsp
58+r | pop  | =Zv | d64 R=rsp W=rsp
60 m32 | pusha=pusha/pushad/pushad | | R=rax,rcx,rdx,rbx,rsp,rbp,rsi,rdi W=rsp
61 m32 | popa=popa/popad/popad | | R=rsp W=rax,rcx,rdx,rbx,rsp,rbp,rsi,rdi
62 mem m32 | bound | Gv Ma |
63 m64 | movsxd | =Gv Ez |
63 m32 | arpl | +Ew Gw | m=z
68 | push | Iz  | d64 sized R=rsp W=rsp
69 | imul | =Gv Ev Iz | m=oc u=szap
6a | push | Ibs | d64 sized R=rsp W=rsp
6b | imul | =Gv Ev Ibs | m=oc u=szap
6c | ins=insb | =Yb DX | rep t=d R=rdi W=rdi io
6d | ins=insw/insd/insd | =Yz DX | rep t=d R=rdi W=rdi io
6e | outs=outsb | DX Xb | rep t=d R=rsi W=rsi io
6f | outs=outsw/outsd/outsd | DX Xz | rep t=d R=rsi W=rsi io
70+cc | j | Jb | cc f64 sized bnd flow=branch
0f 80+cc | j | Jz | cc f64 bnd sized  flow=branch
84 | test | Eb Gb | m=szp 0=oc u=a
85 | test | Ev Gv | m=szp 0=oc u=a
86 | xchg | +Eb +Gb | lock implicitlock
87 | xchg | +Ev +Gv | lock implicitlock
88 | mov | =Eb Gb | xrelease
89 | mov | =Ev Gv | xrelease
8a | mov | =Gb Eb |
8b | mov | =Gv Ev |
8c | mov | =Evw Sw |
8d mem | lea | =Gv @Mn |
8e | mov | =Sw Evw | nocs
8f /0 | pop | =Ev | d64 R=rsp W=rsp
90 | nop | |
f3 90 | pause | | anyrex
90+r | xchg | +Zv +rAX |
98 | cbw=cbw/cwde/cdqe | | R=rax W=rax
99 | cwd=cwd/cdq/cqo | | R=rax W=rdx
9a m32 | call | Ap | far flow=call R=rsp W=rsp
9b | wait=fwait | |
9c | pushf=pushf/pushfd/pushfq | | d64 t=oditszapc R=rsp W=rsp
9d | popf=popf/popfd/popfq | | d64 m=oditszapc R=rsp W=rsp
9e | sahf | | m=szapc R=ah
9f | lahf | | t=szapc W=ah
a0 | mov | =AL Ob |
a1 | mov | =rAX Ov |
a2 | mov | =Ob AL |
a3 | mov | =Ov rAX |
a4 | movs=movsb | =Yb Xb | rep t=d R=rsi,rdi W=rsi,rdi
a5 | movs=movsw/movsd/movsq | =Yv Xv | rep t=d R=rsi,rdi W=rsi,rdi
a6 | cmps=cmpsb | Xb Yb | repe t=d m=oszapc R=rsi,rdi W=rsi,rdi
a7 | cmps=cmpsw/cmpsd/cmpsq | Xv Yv | repe t=d m=oszapc R=rsi,rdi W=rsi,rdi
a8 | test | AL Ib | m=szp 0=oc u=a
a9 | test | rAX Iz | m=szp 0=oc u=a
aa | stos=stosb | =Yb AL | rep t=d R=rdi W=rdi
ab | stos=stosw/stosd/stosq | =Yv rAX | rep t=d R=rdi W=rdi
ac | lods=lodsb | =AL Xb | rep t=d R=rsi W=rsi
ad | lods=lodsw/lodsd/lodsq | =rAX Xv | rep t=d R=rsi W=rsi
ae | scas=scasb | AL Yb | repe t=d m=oszapc R=rdi W=rdi
af | scas=scasw/scasd/scasq | rAX Yv | repe t=d m=oszapc R=rdi W=rdi
b0+r | mov | =Zb Ib |
b8+r | mov | =Zv Iv |
c2 | ret | Iw | f64 bnd sized  flow=ret R=rsp W=rsp
c3 | ret | | f64 bnd sized  flow=ret R=rsp W=rsp
c4 mem m32 | les | =Gz Mp | W=es
c5 mem m32 | lds | =Gz Mp | W=ds
c6 /0 | mov | =Eb Ib | xrelease
c7 /0 | mov | =Ev Iz | xrelease
c8 | enter | Iw Ib2 | d64 sized R=rsp,rbp W=rsp,rbp
c9 | leave | | d64 sized R=rbp W=rsp,rbp
ca | retf=retf/retf/retfq | Iw | sized flow=ret R=rsp W=rsp,cs
cb | retf=retf/retf/retfq | | sized flow=ret R=rsp W=rsp,cs
cc | int3 | | flow=int
cd | int | Iub | flow=int
ce m32 | into | | t=o flow=int
cf | iret=iret/iretd/iretq | | flow=ret m=oditszapc R=rsp W=rsp,cs,ss
d4 m32 | aam | Iub | m=szp u=oac R=al W=ax
d5 m32 | aad | Iub | m=szp u=oac R=ax W=ax
d6 m32 | salc | | t=c W=al
d7 | xlatb=xlat | XLAT | R=al,rbx W=al
e0 | loopne | Jb | f64 sized t=z R=rcx W=rcx flow=branch
e1 | loope | Jb | f64 sized t=z R=rcx W=rcx flow=branch
e2 | loop | Jb | f64 sized R=rcx W=rcx flow=branch
e3 a16 | jcxz | Jb | f64 sized R=rcx flow=branch
e3 a32 | jcxz=jecxz | Jb | f64 sized R=rcx flow=branch
e3 a64 | jcxz=jrcxz | Jb | f64 sized R=rcx flow=branch
e4 | in | =AL Iub | io
e5 | in | =eAX Iub | io
e6 | out | Iub AL | io
e7 | out | Iub eAX | io
ec | in | =AL DX | io
ed | in | =eAX DX | io
ee | out | DX AL | io
ef | out | DX eAX | io
e8 | call | Jz | f64 bnd sized  flow=call R=rsp W=rsp
e9 | jmp | Jz | f64 bnd sized  flow=jump
ea m32 | jmp | Ap | far flow=jump
eb | jmp | Jb | f64 sized flow=jump
f1 | int1 | | flow=int
f4 | hlt | | priv
f5 | cmc | | m=c t=c
f6 /0 | test | Eb Ib | m=szp 0=oc u=a
f6 /1 | test | Eb Ib | m=szp 0=oc u=a
f6 /2 | not | +Eb | lock
f6 /3 | neg | +Eb | m=oszapc lock
f6 /4 | mul | Eb | m=oc u=szap R=al W=ax
f6 /5 | imul | Eb | m=oc u=szap R=al W=ax
f6 /6 | div | Eb | u=oszapc R=ax W=ax
f6 /7 | idiv | Eb | u=oszapc R=ax W=ax
f7 /0 | test | Ev Iz | m=szp 0=oc u=a
f7 /1 | test | Ev Iz | m=szp 0=oc u=a
f7 /2 | not | +Ev | lock
f7 /3 | neg | +Ev | m=oszapc lock
f7 /4 | mul | Ev | m=oc u=szap R=rax W=rax,rdx
f7 /5 | imul | Ev | m=oc u=szap R=rax W=rax,rdx
f7 /6 | div | Ev | u=oszapc R=rax,rdx W=rax,rdx
f7 /7 | idiv | Ev | u=oszapc R=rax,rdx W=rax,rdx
f8 | clc | | 0=c
f9 | stc | | 1=c
fa | cli | | 0=i iopl
fb | sti | | 1=i iopl
fc | cld | | 0=d
fd | std | | 1=d
fe /0 | inc | +Eb | m=oszap lock
fe /1 | dec | +Eb | m=oszap lock
ff /0 | inc | +Ev | m=oszap lock
ff /1 | dec | +Ev | m=oszap lock
ff /2 | call | Ev | f64 notrack bnd flow=call R=rsp W=rsp
ff /3 mem | call | Mp | far flow=call R=rsp W=rsp
ff /4 | jmp | Ev | f64 notrack bnd flow=jump
ff /5 mem | jmp | Mp | far flow=jump
ff /6 | push | Ev | d64 R=rsp W=rsp
0f 0b | ud2 | | flow=int
0f b9 | ud1 | Gv Ev | flow=int
0f ff | ud0 | Gv Ev | flow=int
0f 1f /0 | nop | @Ev |
0f 18 | nop | @Ev |
0f 19 | nop | @Ev |
0f 1a | nop | @Ev |
0f 1b | nop | @Ev |
0f 1c | nop | @Ev |
0f 1d | nop | @Ev |
0f 1e | nop | @Ev |
0f 1f | nop | @Ev |
0f 0d | nop | @Ev | notamd
0f 0d mem | prefetch | @Mb |
0f 0d /0 mem | prefetch | @Mb |
0f 0d /1 mem | prefetchw | @Mb |
0f 0d /2 mem | prefetchwt1 | @Mb |
0f 0d /3 mem | prefetchw | @Mb |
0f 18 /0 mem | prefetchnta | @Mb |
0f 18 /1 mem | prefetcht0 | @Mb |
0f 18 /2 mem | prefetcht1 | @Mb |
0f 18 /3 mem | prefetcht2 | @Mb |
np 0f 1c /0 mem | cldemote | @Mb |
np 0f 37 | getsec | | R=rax
0f 31 | rdtsc | | W=rax,rdx
0f 40+cc | cmov | ~Gv Ev | cc
0f 90+cc | set | =Eb | cc
0f a2 | cpuid | | R=rax,rcx W=rax,rbx,rcx,rdx
0f a3 | bt | Ev Gv | m=c u=osap bitbase
0f ab | bts | +Ev Gv | m=c u=osap lock bitbase
0f b3 | btr | +Ev Gv | m=c u=osap lock bitbase
0f bb | btc | +Ev Gv | m=c u=osap lock bitbase
0f ba /4 | bt | Ev Iub | m=c u=osap
0f ba /5 | bts | +Ev Iub | m=c u=osap lock
0f ba /6 | btr | +Ev Iub | m=c u=osap lock
0f ba /7 | btc | +Ev Iub | m=c u=osap lock
0f a4 | shld | +Ev Gv Iub | m=szpc u=oa
0f a5 | shld | +Ev Gv CL | m=szpc u=oa
0f ac | shrd | +Ev Gv Iub | m=szpc u=oa
0f ad | shrd | +Ev Gv CL | m=szpc u=oa
0f af | imul | +Gv Ev | m=oc u=szap
0f b0 | cmpxchg | +Eb Gb | m=oszapc lock R=al W=al
0f b1 | cmpxchg | +Ev Gv | m=oszapc lock R=rax W=rax
0f b2 mem | lss | =Gv Mp | W=ss
0f b4 mem | lfs | =Gv Mp | W=fs
0f b5 mem | lgs | =Gv Mp | W=gs
0f b6 | movzx | =Gv Eb |
0f b7 | movzx | =Gv Ew |
0f be | movsx | =Gv Eb |
0f bf | movsx | =Gv Ew |
0f bc | bsf | ~Gv Ev | m=z u=osapc
0f bd | bsr | ~Gv Ev | m=z u=osapc
0f c0 | xadd | +Eb +Gb | m=oszapc lock
0f c1 | xadd | +Ev +Gv | m=oszapc lock
0f c7 /1 mem | cmpxchg8b=cmpxchg8b/cmpxchg8b/cmpxchg16b | +Mdbl | m=z lock R=rax,rbx,rcx,rdx W=rax,rdx
0f c8+r | bswap | +Zv |
np 0f c3 mem | movnti | =My Gy | nt66
[popcnt]
f3 0f b8 | popcnt | =Gv Ev | m=z 0=osapc
[bmi1]
f3 0f bc | tzcnt | =Gv Ev | m=zc u=osap
[lzcnt]
f3 0f bd | lzcnt | =Gv Ev | m=zc u=osap
[movbe]
np 0f38 f0 mem | movbe | =Gv Mv |
np 0f38 f1 mem | movbe | =Mv Gv |
66 0f38 f0 mem | movbe | =Gv Mv | opsize
66 0f38 f1 mem | movbe | =Mv Gv | opsize
[sse4.2]
f2 0f38 f0 | crc32 | +Gy Eb |
f2 0f38 f1 | crc32 | +Gy Ev |
[adx]
66 0f38 f6 | adcx | +Gy Ey | m=c t=c
f3 0f38 f6 | adox | +Gy Ey | m=o t=o
[cet]
f3 0f 1e =fa | endbr64 | |
f3 0f 1e =fb | endbr32 | |
f3 0f 1e /1 reg | rdssp=rdsspd/rdsspd/rdsspq | =Ry |
f3 0f ae /5 reg | incssp=incsspd/incsspd/incsspq | Ry |
f3 0f 01 =ea | saveprevssp | | t=c
f3 0f 01 /5 mem | rstorssp | +Mq | m=c 0=oszap
np 0f38 f6 mem | wrss=wrssd/wrssd/wrssq | =My Gy |
66 0f38 f5 mem | wruss=wrussd/wrussd/wrussq | =My Gy | priv
f3 0f 01 =e8 | setssbsy | | priv
f3 0f ae /6 mem | clrssbsy | +Mq | m=c 0=oszap priv
`;
