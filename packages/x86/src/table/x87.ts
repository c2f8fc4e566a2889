// A table of opcodes. Grammar of a row: see parse.ts.

const ARITHMETIC = ["fadd", "fmul", "fcom", "fcomp", "fsub", "fsubr", "fdiv", "fdivr"];
/** DC and DE exchange the two subtractions and the two divisions (SDM 2, appendix A.5.2). */
const REVERSED = ["fadd", "fmul", "fcom", "fcomp", "fsubr", "fsub", "fdivr", "fdiv"];

const arithmetic = ARITHMETIC.map((name, index) => {
  const integer = `fi${name.slice(1)}`;
  const reversed = REVERSED[index];
  const compares = index === 2 || index === 3;
  return `
d8 /${index} mem | ${name} | Md | R=st0 ${compares ? "" : "W=st0"}
d8 /${index} reg | ${name} | ${compares ? "STi | R=st0" : "+ST0 STi |"}
da /${index} mem | ${integer} | Md | R=st0 ${compares ? "" : "W=st0"}
dc /${index} mem | ${name} | Mq | R=st0 ${compares ? "" : "W=st0"}
dc /${index} reg | ${compares ? name : reversed} | ${compares ? "STi | R=st0" : "+STi ST0 |"}
de /${index} mem | ${integer} | Mw | R=st0 ${compares ? "" : "W=st0"}
${compares ? "" : `de /${index} reg | ${reversed}p | +STi ST0 |`}`;
}).join("");

/** x87 floating point. */
export const X87: string = `
[x87]
${arithmetic}
de /2 reg | fcomp | STi | R=st0
de =d9 | fcompp | |
d9 /0 mem | fld | Md | W=st0
d9 /0 reg | fld | STi | W=st0
d9 /1 reg | fxch | +STi | R=st0 W=st0
d9 /2 mem | fst | =Md | R=st0
d9 /3 mem | fstp | =Md | R=st0
d9 /3 reg | fstpnce=fstp | =STi | R=st0
d9 /4 mem | fldenv | Menv |
d9 /5 mem | fldcw | Mw |
d9 /6 mem | fnstenv | =Menv |
d9 /7 mem | fnstcw | =Mw |
d9 =e0 | fchs | | R=st0 W=st0
d9 =e1 | fabs | | R=st0 W=st0
d9 =e4 | ftst | | R=st0
d9 =e5 | fxam | | R=st0
d9 =e8 | fld1 | | W=st0
d9 =e9 | fldl2t | | W=st0
d9 =ea | fldl2e | | W=st0
d9 =eb | fldpi | | W=st0
d9 =ec | fldlg2 | | W=st0
d9 =ed | fldln2 | | W=st0
d9 =ee | fldz | | W=st0
d9 =f0 | f2xm1 | | R=st0 W=st0
d9 =f1 | fyl2x | | R=st0,st1 W=st1
d9 =f2 | fptan | | R=st0 W=st0
d9 =f3 | fpatan | | R=st0,st1 W=st1
d9 =f4 | fxtract | | R=st0 W=st0
d9 =f5 | fprem1 | | R=st0,st1 W=st0
d9 =f6 | fdecstp | |
d9 =f7 | fincstp | |
d9 =f8 | fprem | | R=st0,st1 W=st0
d9 =f9 | fyl2xp1 | | R=st0,st1 W=st1
d9 =fa | fsqrt | | R=st0 W=st0
d9 =fb | fsincos | | R=st0 W=st0
d9 =fc | frndint | | R=st0 W=st0
d9 =fd | fscale | | R=st0,st1 W=st0
d9 =fe | fsin | | R=st0 W=st0
d9 =ff | fcos | | R=st0 W=st0
da /0 reg | fcmovb | ~ST0 STi | t=c
da /1 reg | fcmove | ~ST0 STi | t=z
da /2 reg | fcmovbe | ~ST0 STi | t=zc
da /3 reg | fcmovu | ~ST0 STi | t=p
da =e9 | fucompp | | R=st0,st1
db /0 mem | fild | Md | W=st0
db /1 mem | fisttp | =Md | R=st0
db /2 mem | fist | =Md | R=st0
db /3 mem | fistp | =Md | R=st0
db /5 mem | fld | Mt | W=st0
db /7 mem | fstp | =Mt | R=st0
db /0 reg | fcmovnb | ~ST0 STi | t=c
db /1 reg | fcmovne | ~ST0 STi | t=z
db /2 reg | fcmovnbe | ~ST0 STi | t=zc
db /3 reg | fcmovnu | ~ST0 STi | t=p
db =e0 | fneni | |
db =e1 | fndisi | |
db =e2 | fnclex | |
db =e3 | fninit | |
db =e4 | fnsetpm | |
db /5 reg | fucomi | ST0 STi | m=zpc 0=osa
db /6 reg | fcomi | ST0 STi | m=zpc 0=osa
d9 =d0 | fnop | |
dd /0 mem | fld | Mq | W=st0
dd /1 mem | fisttp | =Mq | R=st0
dd /2 mem | fst | =Mq | R=st0
dd /3 mem | fstp | =Mq | R=st0
dd /4 mem | frstor | Mst |
dd /6 mem | fnsave | =Mst |
dd /7 mem | fnstsw | =Mw |
dd /0 reg | ffree | STi |
dd /1 reg | fxch | +STi | R=st0 W=st0
dd /2 reg | fst | =STi | R=st0
dd /3 reg | fstp | =STi | R=st0
dd /4 reg | fucom | STi | R=st0
dd /5 reg | fucomp | STi | R=st0
df /0 mem | fild | Mw | W=st0
df /1 mem | fisttp | =Mw | R=st0
df /2 mem | fist | =Mw | R=st0
df /3 mem | fistp | =Mw | R=st0
df /4 mem | fbld | Mt | W=st0
df /5 mem | fild | Mq | W=st0
df /6 mem | fbstp | =Mt | R=st0
df /7 mem | fistp | =Mq | R=st0
df /0 reg | ffreep | STi |
df /1 reg | fxch | +STi | R=st0 W=st0
df /2 reg | fstp | =STi | R=st0
df /3 reg | fstp | =STi | R=st0
df =e0 | fnstsw | =AX |
df /5 reg | fucomip | ST0 STi | m=zpc 0=osa
df /6 reg | fcomip | ST0 STi | m=zpc 0=osa
`;
