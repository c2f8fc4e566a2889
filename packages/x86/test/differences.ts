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
  {
    features: /SM3|SM4|SHA512|AVX_IFMA|AVX_VNNI|AVX_NE_CONVERT/,
    why: "VEX extensions after AVX2, newer than our scope",
  },
  { features: /CMPCCXADD|RAO_INT/, why: "newer than our scope" },
  { features: /FRED|LKGS|MSRLIST|TDX|RMPQUERY|PBNDKB/, why: "ring 0 only, of hosts newer than our scope" },
];

/** Text of the same instruction made equal: [pattern, replacement, why]. Applied to iced's text and to ours. */
export const ICED_TEXT: readonly (readonly [RegExp, string, string])[] = [
  [/hint-(?:not-)?taken /, "", "branch hints are not written: processors since 2004 ignore them"],
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
  [
    /^(lea [^,]*, )[cdefgs]s:/,
    "$1",
    "iced leaves out the segment that LEA does not use; it stands in the code, so we show it",
  ],
  [/es:(?=\[[er]?di)/, "", "the destination of a string instruction is always in ES"],
  [/^mov ([c-gs]s), \w+$/, "mov $1, r", "MOV to a segment register: iced names 16 bits, objdump the operand size"],
  [/^(pblendvb|blendvp[sd]|sha256rnds2) (.*,.*), xmm0$/, "$1 $2", "the implicit XMM0 is shown, as objdump does"],
  [/^[c-gs]s (?=clzero|monitor|vmrun|vmload|vmsave|invlpg)/, "", "the segment of an address that is not shown"],
  [/^(clzero|vmrun|vmload|vmsave|invlpga|invlpgb|skinit)\b.*/, "$1", "implicit address operands are not shown"],
  [/^(maskmov\w+ .*), [c-gs]s$/, "$1", "the segment of the destination that is not shown"],
  [/^(pvalidate|psmash|rmpadjust|rmpupdate)\b.*/, "$1", "implicit operands are not shown"],
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
  [/\s*<[^>]*>/g, "", "symbols"],
  [
    /^(?:(?:cs|ds|es|ss|data16|rex\S*) )*(?=\w)(?=nop|xchg|lea|call|jmp|addr32|ret|clflush|\w+ )(?!rep)/,
    "",
    "padding prefixes",
  ],
  [/\+0x0\]/, "]", "a displacement of zero"],
  [/\*1(?=[+\]-])/g, "", "a scale of one"],
  [/\+[re]iz(?=[+\]])/g, "", "the index that is none"],
  [/\bds:(0x[0-9a-f]+)/, "[$1]", "an absolute address"],
  [/\b([efgcs]s):(0x[0-9a-f]+)/, "$1:[$2]", "an absolute address"],
  [/^(?:bnd |notrack )?(?:j\w+|call|loop\w*|xbegin) (?=[0-9a-f]+$)/, "$&0x", "branch targets have no 0x"],
  [/^movabs/, "mov", "GNU's name of a MOV with 64 bits"],
  [
    /^((?:rep\w* )?)(movs|stos|lods|scas|cmps|ins|outs)[bwdq]?(?: (?!.*xmm).*)?$/,
    "$1$2",
    "string instructions: suffix or operands, not both",
  ],
  [/^rep(z|nz) /, "rep$1 ", ""],
  [/^(push|pop)f$/, "$1fq", "objdump leaves out the q"],
  [/oword ptr/, "xmmword ptr", "CMPXCHG16B's memory"],
  [/^invpcid (\w+),xmmword ptr /, "invpcid $1,", "a descriptor"],
  [/^(jmp|call) (fword|tbyte) ptr/, "$1 far $2 ptr", "far branches are marked"],
  [/^sysret[dl]/, "sysret", "no suffix for the usual one"],
  [/^sysexit[dl]/, "sysexit", "no suffix for the usual one"],
  [/^repz ret/, "ret", "F3 before RET does nothing"],
];

/** Text of objdump (AT&T syntax) made equal to ours. */
export const OBJDUMP_ATT_TEXT: readonly (readonly [RegExp, string, string])[] = [
  [/\s+#.*$/, "", "the resolved address"],
  [/\s*<[^>]*>/g, "", "symbols"],
  [/^(?:(?:cs|ds|es|ss|data16|rex\S*) )+(?=\w)(?!rep)/, "", "padding prefixes"],
  [/^((?:bnd |notrack )?(?:j\w+|call|loop\w*|xbegin)) (?=[0-9a-f]+$)/, "$1 0x", "branch targets have no 0x"],
  [/^repz ret/, "ret", "F3 before RET does nothing"],
];

/** What objdump decodes and we do not: the families of {@link UNDECODED} by what its text shows. */
export const OBJDUMP_UNDECODED: RegExp = new RegExp(
  [
    /zmm|[xy]mm(?:1[6-9]|2\d|3[01])|\bk[0-7]\b|%k[0-7]|\{|tmm/, // AVX-512, AMX
    /^(?:\S+ )*(?:femms|pf\w+|pi2f[dw]|pswapd|pavgusb|pmulhrw)\b/, // 3DNow!
    /^(?:\S+ )*vf(?:n?m(?:add|sub)(?:sub|add)?)[ps][sd] |vpermil2|vprot|vpsh[al]|vpcom|vpmacs|vpmadcs|vphadd|vpcmov|vfrcz/, // FMA4, XOP
    /^(?:\S+ )*(?:bl[cs]|t1mskc|tzmsk|llwpcb|slwpcb|lwp)/, // TBM, LWP
    /xstore|xcrypt|xsha|montmul/, // VIA
    /aes(?:enc|dec)(?:wide)?(?:128|256)kl|encodekey|loadiwkey/, // Key Locker
    /vpdp|vpmadd52|vcvtne|vbcstne|\ba(?:add|and|or|xor)\b|cmp\w+xadd|[tv]dp\w+ps/, // newer VEX and RAO-INT
    /rdmsrlist|wrmsrlist|seam|tdcall|tile|sttilecfg|ldtilecfg|rmpquery|pbndkb|lkgs/, // newer system
    /vpro[lr]|vpermi2|vpermt2|vpternlog|v(?:get|range|reduce|scalef|fixup|rndscale)|e?vmovdq[ua](?:8|16|32|64)/, // EVEX without its registers
    /v(?:cvt\w*(?:ph|udq|uqq|qq|u?si|bf16)|p(?:conflict|compress|expand|multishift|sh[lr]d|popcnt|opcnt)|fpclass|dbpsad)/, // EVEX
    /1to\d|-sae|\bbnd[0-3]\b/, // EVEX, MPX
  ]
    .map((pattern) => pattern.source)
    .join("|"),
);

/** objdump writes a prefix that it cannot place as a line of its own. */
export const OBJDUMP_PREFIXES_ALONE =
  /^(?:(?:rex[.WRXB]*|data(?:16|32)|addr(?:16|32)|[cdefgs]s|repn?z|rep|lock|bnd|xacquire|xrelease|notrack)(?: |$))+$/;

/** Where objdump 2.40 is laxer or stricter than the processor; the text of both must match. */
export const OBJDUMP_LENIENT: readonly {
  readonly objdump: RegExp;
  readonly ours: RegExp;
  readonly bytes?: RegExp;
  readonly why: string;
}[] = [
  { objdump: /\block\b/, ours: /^\(bad\)/, why: "it does not check LOCK" },
  {
    objdump: /\?|[cdt]r\d|mov cs,/,
    ours: /^\(bad\)/,
    why: "it takes segment registers 6 and 7, a MOV to CS, CR1, CR5 to CR7, DR8 to DR15, the 386's test registers",
  },
  {
    objdump: /^(?:\S+ )*(?:v\w+|andn|bextr|bzhi|bls\w+|pext|pdep|mulx|sarx|shlx|shrx|rorx)/,
    ours: /^\(bad\)/,
    bytes: /^(?:66|67|f2|f3|2e|3e|26|36|64|65|4.)+c[45]/,
    why: "it takes REX, 66, F2 and F3 before VEX",
  },
  { objdump: /^(?:\S+ )*vzero/, ours: /^\(bad\)/, why: "it does not check VEX.pp of VZEROUPPER" },
  {
    objdump: /^\(bad\)|rex\S* \(bad\)|\(bad\)/,
    ours: /^(?:data\d+ )?(?:fstp|fxch|fcomp|fcom) st/,
    why: "aliases of the x87 that the manual leaves out",
  },
  {
    objdump: /^f(?:2xm1|yl2x|ptan|patan|xtract|prem1?|decstp|incstp|yl2xp1|sqrt|sincos|rndint|scale|sin|cos)|bad/,
    ours: /^f/,
    why: "its x87 table reads past the mark of the bytes",
  },
  { objdump: /bnd(?:ldx|stx|mov|mk|cl|cu|cn)/, ours: /^nop/, why: "MPX: NOPs where there is none" },
  { objdump: /\(bad\)/, ours: /^nop/, why: "reserved NOPs that it does not list, MPX forms that it rejects" },
  {
    objdump: /\(bad\)/,
    ours: /^(?:salc|int1|ud[01]|vm\w+call|mwaitx|swapgs|rdtscp)/,
    why: "it does not know them in full",
  },
  {
    objdump: /\(bad\)/,
    ours: /^(?:bs[fr]|wbinvd|wbnoinvd|[lms]fence)/,
    why: "prefixes that the processor ignores; the r/m field of the fences",
  },
  { objdump: /./, ours: /^fwait/, why: "it joins FWAIT with the x87 instruction that follows" },
  {
    objdump: /./,
    ours: /^\(bad\)/,
    bytes: /^(?:66|67|f2|f3|2e|3e|26|36|64|65|4.)*0f(?:37|01|ae|c7|78|79|d7|c3)/,
    why: "it does not check the mandatory prefix of these",
  },
  { objdump: /frstpm|fstsg|fstdw/, ours: /^\(bad\)/, why: "287 only" },
];
