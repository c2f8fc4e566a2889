// A table of opcodes. Grammar of a row: see parse.ts.

/** System instructions: descriptor tables, control registers, MSRs, fast calls, state saving, virtualization. */
export const SYSTEM: string = `
[general]
0f 00 /0 | sldt | =Evw |
0f 00 /1 | str  | =Evw |
0f 00 /2 | lldt | Ew | priv
0f 00 /3 | ltr  | Ew | priv
0f 00 /4 | verr | Ew | m=z
0f 00 /5 | verw | Ew | m=z
0f 01 /0 mem | sgdt | =Ms | f64
0f 01 /1 mem | sidt | =Ms | f64
0f 01 /2 mem | lgdt | Ms | f64 priv
0f 01 /3 mem | lidt | Ms | f64 priv
0f 01 /4 | smsw | =Evw |
0f 01 /6 | lmsw | Ew | priv
0f 01 /7 mem | invlpg | @Mb | priv
0f 01 =f8 m64 | swapgs | | priv
0f 02 | lar | ~Gv Evw | m=z
0f 03 | lsl | ~Gv Evw | m=z
0f 05 m64 | syscall | | t=oditszapc m=oditszapc flow=syscall W=rcx,r11
0f 05 m32 | syscall | | m=i flow=syscall W=rcx
0f 06 | clts | | priv
0f 07 | sysret=sysret/sysret/sysretq | | m=oditszapc R=rcx,r11 priv flow=ret
0f 08 | invd | | priv
0f 09 | wbinvd | | priv
f3 0f 09 | wbnoinvd | | priv
0f 20 | mov | =Ry Cy | u=oszapc f64 modreg priv
0f 21 | mov | =Ry Dy | u=oszapc f64 modreg priv
0f 22 | mov | =Cy Ry | u=oszapc f64 modreg priv
0f 23 | mov | =Dy Ry | u=oszapc f64 modreg priv
0f 30 | wrmsr | | priv R=rax,rcx,rdx
0f 32 | rdmsr | | priv R=rcx W=rax,rdx
0f 33 | rdpmc | | R=rcx W=rax,rdx
0f 34 | sysenter | | 0=i flow=syscall
0f 35 | sysexit=sysexit/sysexit/sysexitq | | R=rcx,rdx W=rsp priv flow=ret
0f aa | rsm | | m=oditszapc flow=ret
[rdtscp]
0f 01 =f9 | rdtscp | | W=rax,rcx,rdx
[monitor]
np 0f 01 =c8 | monitor | | R=rax,rcx,rdx
np 0f 01 =c9 | mwait | | R=rax,rcx
np 0f 01 =fa | monitorx | | R=rax,rcx,rdx
np 0f 01 =fb | mwaitx | | R=rax,rbx,rcx
[smap]
np 0f 01 =ca | clac | | priv
np 0f 01 =cb | stac | | priv
[sgx]
np 0f 01 =cf | encls | | m=oszapc priv
np 0f 01 =d7 | enclu | | m=oszapc
np 0f 01 =c0 | enclv | | m=oszapc
[xsave]
np 0f 01 =d0 | xgetbv | | R=rcx W=rax,rdx
np 0f 01 =d1 | xsetbv | | R=rax,rcx,rdx priv
np 0f ae /4 mem | xsave=xsave/xsave/xsave64 | +Mn | R=rax,rdx
np 0f ae /5 mem | xrstor=xrstor/xrstor/xrstor64 | Mn | R=rax,rdx
np 0f ae /6 mem | xsaveopt=xsaveopt/xsaveopt/xsaveopt64 | +Mn | R=rax,rdx
np 0f c7 /3 mem | xrstors=xrstors/xrstors/xrstors64 | Mn | R=rax,rdx priv
np 0f c7 /4 mem | xsavec=xsavec/xsavec/xsavec64 | +Mn | R=rax,rdx
np 0f c7 /5 mem | xsaves=xsaves/xsaves/xsaves64 | +Mn | R=rax,rdx priv
[fxsr]
np 0f ae /0 mem | fxsave=fxsave/fxsave/fxsave64 | =Mfx |
np 0f ae /1 mem | fxrstor=fxrstor/fxrstor/fxrstor64 | Mfx |
[fsgsbase]
f3 0f ae /0 reg m64 | rdfsbase | =Ry |
f3 0f ae /1 reg m64 | rdgsbase | =Ry |
f3 0f ae /2 reg m64 | wrfsbase | Ry |
f3 0f ae /3 reg m64 | wrgsbase | Ry |
[ptwrite]
f3 0f ae /4 | ptwrite | Ey | no66
[clflushopt]
66 0f ae /7 mem | clflushopt | @Mb |
[clwb]
66 0f ae /6 mem | clwb | @Mb |
[waitpkg]
66 0f ae /6 reg | tpause | Rd | m=c 0=oszap R=rax,rdx
f2 0f ae /6 reg | umwait | Rd | m=c 0=oszap R=rax,rdx
f3 0f ae /6 reg | umonitor | Radr |
[rdrand]
np 0f c7 /6 reg | rdrand | =Rv | m=c 0=oszap
66 0f c7 /6 reg | rdrand | =Rv | m=c 0=oszap opsize
[rdseed]
np 0f c7 /7 reg | rdseed | =Rv | m=c 0=oszap
66 0f c7 /7 reg | rdseed | =Rv | m=c 0=oszap opsize
[rdpid]
f3 0f c7 /7 reg | rdpid | =Ry | f64
[pku]
np 0f 01 =ee | rdpkru | | R=rcx W=rax,rdx
np 0f 01 =ef | wrpkru | | R=rax,rcx,rdx
[serialize]
np 0f 01 =e8 | serialize | |
[tsx]
c6 =f8 | xabort | Iub |
c7 =f8 | xbegin | Jz | xbegin
np 0f 01 =d5 | xend | |
np 0f 01 =d6 | xtest | | m=z 0=osapc
f2 0f 01 =e8 | xsusldtrk | |
f2 0f 01 =e9 | xresldtrk | |
[invpcid]
66 0f38 82 mem | invpcid | Gy Mdq | f64 priv
[vmx]
np 0f 01 =c1 | vmcall | | m=zc 0=osap
np 0f 01 =c2 | vmlaunch | | m=zc 0=osap priv
np 0f 01 =c3 | vmresume | | m=zc 0=osap priv
np 0f 01 =c4 | vmxoff | | m=zc 0=osap priv
np 0f 01 =d4 | vmfunc | | m=zc 0=osap R=rax,rcx
np 0f 78 | vmread | =Ey Gy | m=zc 0=osap f64 priv
np 0f 79 | vmwrite | Gy Ey | m=zc 0=osap f64 priv
66 0f38 80 mem | invept | Gy Mdq | m=zc 0=osap f64 priv
66 0f38 81 mem | invvpid | Gy Mdq | m=zc 0=osap f64 priv
np 0f c7 /6 mem | vmptrld | Mq | m=zc 0=osap priv
np 0f c7 /7 mem | vmptrst | =Mq | m=zc 0=osap priv
66 0f c7 /6 mem | vmclear | =Mq | m=zc 0=osap priv
f3 0f c7 /6 mem | vmxon | Mq | m=zc 0=osap priv
[svm]
0f 01 =d8 | vmrun | | R=rax priv
0f 01 =d9 | vmmcall | |
0f 01 =da | vmload | | R=rax priv
0f 01 =db | vmsave | | R=rax priv
0f 01 =dc | stgi | | priv
0f 01 =dd | clgi | | priv
0f 01 =de | skinit | | R=rax priv
0f 01 =df | invlpga | | R=rax,rcx priv
np 0f 01 =fe | invlpgb | | R=rax,rcx,rdx priv
np 0f 01 =ff | tlbsync | | priv
f3 0f 01 =d9 | vmgexit | |
f2 0f 01 =d9 | vmgexit | |
f3 0f 01 =fe m64 | rmpadjust | | m=oszapc priv
f2 0f 01 =fe m64 | rmpupdate | | m=oszapc priv
f3 0f 01 =ff m64 | psmash | | m=oszapc priv
f2 0f 01 =ff | pvalidate | | m=oszapc priv
[clzero]
0f 01 =fc | clzero | | R=rax
[movdiri]
np 0f38 f9 mem | movdiri | =My Gy |
66 0f38 f8 mem | movdir64b | Gadr M64 |
f2 0f38 f8 mem | enqcmd | Gadr M64 | m=z 0=osapc
f3 0f38 f8 mem | enqcmds | Gadr M64 | m=z 0=osapc priv
[rdpru]
np 0f 01 =fd | rdpru | | m=c 0=oszap R=rcx W=rax,rdx
[pconfig]
np 0f 01 =c5 | pconfig | | m=z 0=osapc R=rax,rbx,rcx,rdx priv
[wrmsrns]
np 0f 01 =c6 | wrmsrns | | R=rax,rcx,rdx priv
[uintr]
f3 0f 01 =ec m64 | uiret | |
f3 0f 01 =ed m64 | testui | | m=c 0=oszap
f3 0f 01 =ee m64 | clui | |
f3 0f 01 =ef m64 | stui | |
f3 0f c7 /6 reg m64 | senduipi | Rq |
`;
