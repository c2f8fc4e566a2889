/**
 * Every difference on purpose between our decoder and the two that the tests compare it with, and why.
 * A difference that is not here fails a test.
 */

/** What we do not decode, by the CPU feature names of iced-x86: the tests want `(bad)` from us for all of it. */
export const UNDECODED: readonly { readonly features: RegExp; readonly why: string }[] = [
  { features: /AVX512|AVX10/, why: "EVEX and the mask-register instructions: no machine that we make offers AVX-512" },
  { features: /D3NOW/, why: "3DNow! left AMD's processors in 2010" },
  { features: /FMA4|XOP|TBM|LWP/, why: "AMD family 15h only; FMA4 shares nothing with FMA" },
  { features: /PADLOCK|TSE|CENTAUR/, why: "VIA processors only" },
  { features: /AMX/, why: "tile registers: no machine that we make has them" },
  { features: /AESKLE|WIDE_KL|^KL|\+KL/, why: "Key Locker needs a platform key that a guest cannot have" },
  { features: /SM3|SM4|SHA512|AVX_IFMA|AVX_VNNI|AVX_NE_CONVERT/, why: "VEX extensions after AVX2, newer than our scope" },
  { features: /CMPCCXADD|RAO_INT/, why: "newer than our scope" },
  { features: /FRED|LKGS|MSRLIST|TDX|RMPQUERY|PBNDKB/, why: "ring 0 only, of hosts newer than our scope" },
];

/** Text of the same instruction made equal: [pattern, replacement, why]. Applied to iced's text and to ours. */
export const ICED_TEXT: readonly (readonly [RegExp, string, string])[] = [
  [/^hint-(?:not-)?taken /, "", "branch hints are not written: processors since 2004 ignore them"],
  [/^((?:bnd )?)rep ret/, "$1ret", "F3 before RET does nothing"],
  [/\bret far/, "retf", "the far return has a mnemonic of its own"],
  [/^prefetch_(?:exclusive|reserved)/, "prefetch", "AMD's names"],
  [/^prefetchit[01] byte ptr/, "nop dword ptr", "PREFETCHIT0/1 are NOPs unless RIP-relative, and to us always"],
  [/^nop ([bdqw]+ord|byte) ptr/, "nop ptr", "the size of what a NOP does not read"],
  [/^nop ([^,]*),.*/, "nop $1", "reserved NOPs: the manual gives them one operand, iced two"],
  [/^addr(?:16|32) /, "", "an address size that changes nothing but the counter or the reach"],
  [/^(bnd )?data(?:16|32) (jmp|call) far/, "$1$2 far", "the far pointer's size is not marked"],
  [/^(jmp|call) far (0x\w+), (0x\w+)/, "$1 far $3:$2", "selector first, as objdump and the manual do"],
  [/^data64 (retf)/, "$1q", "as objdump names it"],
  [/^getsecq/, "getsec", "one mnemonic"],
  [/^xchg rax, rax$/, "nop", "48 90 is NOP"],
  [/^(imul [^,]*), \1?([^,]*), (0x\w+)$/, "$1, $3", "iced leaves out the second operand where it equals the first"],
  [/^(imul (\w+)), \2, /, "$1, ", "the same, ours"],
  [/^((?:s|ro|rc|sh)\w+ .*), 0x1$/, "$1, 1", "the shifts by one of D0 and D1 have no immediate byte: `1`"],
  [/^([sl][gi]dt) fword ptr/, "$1", "a table register's image is 10 bytes long in 64-bit mode: no size"],
  [/zmmword ptr |fpu(?:env|state)\d+ ptr /, "", "64-byte blocks and x87 images have no size word"],
  [/^(invlpg|clflush|clflushopt|clwb|cldemote) byte ptr/, "$1", "only an address"],
  [/^(lea [^,]*, )[cdefgs]s:/, "$1", "iced leaves out the segment that LEA does not use; it stands in the code, so we show it"],
  [/es:(?=\[[er]?di)/, "", "the destination of a string instruction is always in ES"],
  [/^mov ([c-gs]s), \w+$/, "mov $1, r", "MOV to a segment register: iced names 16 bits, objdump the operand size"],
  [/^(pblendvb|blendvp[sd]|sha256rnds2) (.*), xmm0$/, "$1 $2", "the implicit XMM0 is shown, as objdump does"],
  [/^(clzero|vmrun|vmload|vmsave|invlpga|invlpgb|skinit)\b.*/, "$1", "implicit address operands are not shown"],
  [/^fstpnce /, "fstp ", "D9 /3 is an alias of FSTP"],
  [/^sal /, "shl ", "D0 /6 is an alias of SHL"],
  [/^(f\w+) st(?:\(0\))?, (.*ptr .*)/, "$1 $2", "iced writes the implicit top of the x87 stack, the manual does not"],
  [/^(fst|fstp|fist|fistp|fisttp|fbstp) (.*), st$/, "$1 $2", "the same"],
  [/^(fld|fcom|fcomp|fucom|fucomp|fxch) st(?:\(0\))?, (st.*)/, "$1 $2", "the same"],
  [/^(f\w+p) st\(1\), st$/, "$1", "iced leaves out the usual operands"],
  [/^(fxch|fcomp?|fucomp?) st\(1\)$/, "$1", "the same"],
  [/^(p?cmp[ei]stri|p?cmp[ei]strm|vp?cmp[ei]str[im])(?:q|64)\b/, "$1", "REX.W on the string compares: one mnemonic"],
];

/** Text of objdump (Intel syntax) made equal to ours; [pattern, replacement, why]. */
export const OBJDUMP_TEXT: readonly (readonly [RegExp, string, string])[] = [
  [/\s+#.*$/, "", "the resolved address"],
  [/<[^>]*>/g, "", "symbols"],
  [/^(?:(?:cs|ds|es|ss|data16|rex\S*) )*(?=\w)(?=nop|xchg|lea|call|jmp|addr32|ret|clflush|\w+ )(?!rep)/, "", "padding prefixes"],
  [/\+0x0\]/, "]", "a displacement of zero"],
  [/\*1(?=[+\]-])/g, "", "a scale of one"],
  [/\+[re]iz(?=[+\]])/g, "", "the index that is none"],
  [/\bds:(0x[0-9a-f]+)/, "[$1]", "an absolute address"],
  [/\b([efgcs]s):(0x[0-9a-f]+)/, "$1:[$2]", "an absolute address"],
  [/^(?:bnd |notrack )?(?:j\w+|call|loop\w*|xbegin) (?=[0-9a-f]+$)/, "$&0x", "branch targets have no 0x"],
  [/^movabs/, "mov", "GNU's name of a MOV with 64 bits"],
  [/^((?:rep\w* )?)(movs|stos|lods|scas|cmps|ins|outs)\b.*/, "$1$2", "string instructions: suffix or operands, not both"],
  [/^rep(z|nz) /, "rep$1 ", ""],
  [/^(push|pop)f$/, "$1fq", "objdump leaves out the q"],
  [/oword ptr/, "xmmword ptr", "CMPXCHG16B's memory"],
  [/^invpcid (\w+),xmmword ptr /, "invpcid $1,", "a descriptor"],
  [/^(jmp|call) (fword|tbyte) ptr/, "$1 far $2 ptr", "far branches are marked"],
  [/^sysret[dl]/, "sysret", "no suffix for the usual one"],
  [/^sysexit[dl]/, "sysexit", "no suffix for the usual one"],
  [/^repz ret/, "ret", "F3 before RET does nothing"],
];
