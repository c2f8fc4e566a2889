// Longer than a file should be: one function that decodes, in one piece for the sake of its speed.
import { BASE_RIP, INVALID, type Instruction, NO_REGISTER, PREFIX } from "./instruction.ts";
import { BASE16, exists, INDEX16, KIND, PREFIX_KIND } from "./prefixes.ts";
import { CELLS, compilePlace, DISPATCH, INFO, INFO_TABLE, OPCODES, ROW, SELECT, VARIANTS } from "./table/compile.ts";
import { FROM } from "./table/operand.ts";

// Plain constants: code that is not optimized yet would look the fields up every time.
const {
  CLASSES: INFO_CLASSES,
  COUNT: INFO_COUNT,
  IMMEDIATE: INFO_IMMEDIATE,
  KINDS_MEMORY: INFO_KINDS_MEMORY,
  KINDS_REGISTER: INFO_KINDS_REGISTER,
  LENGTH: INFO_LENGTH,
  MNEMONIC: INFO_MNEMONIC,
  OPCODE_SLOT: INFO_OPCODE_SLOT,
  REGISTERS: INFO_REGISTERS,
  REG_CLASS: INFO_REG_CLASS,
  REG_SLOT: INFO_REG_SLOT,
  RM_SLOT: INFO_RM_SLOT,
  SIZE: INFO_SIZE,
  SIZES: INFO_SIZES,
  SIZES_HIGH: INFO_SIZES_HIGH,
  VVVV_SLOT: INFO_VVVV_SLOT,
} = INFO;
const {
  ADDRESS_REG: ROW_ADDRESS_REG,
  CONDITIONAL: ROW_CONDITIONAL,
  D64: ROW_D64,
  FAR_POINTER: ROW_FAR_POINTER,
  NEAR: ROW_NEAR,
  NOT_AMD: ROW_NOT_AMD,
  EATS_66: ROW_EATS_66,
  EATS_F2: ROW_EATS_F2,
  EATS_F3: ROW_EATS_F3,
  F64: ROW_F64,
  LOCKABLE: ROW_LOCKABLE,
  MODREG: ROW_MODREG,
  MODRM: ROW_MODRM,
  NO_66: ROW_NO_66,
  OPCODE_BYTE: ROW_OPCODE_BYTE,
  OPSIZE_TOO: ROW_OPSIZE_TOO,
  REG_BYTE: ROW_REG_BYTE,
  REG_CHECKED: ROW_REG_CHECKED,
  REG_LOW3: ROW_REG_LOW3,
  RM_BYTE: ROW_RM_BYTE,
  RM_LOW3: ROW_RM_LOW3,
  VSIB: ROW_VSIB,
  VVVV: ROW_VVVV,
} = ROW;
const {
  ADDRESS: SELECT_ADDRESS,
  L: SELECT_L,
  MODE: SELECT_MODE,
  MODRM: SELECT_MODRM,
  PREFIX: SELECT_PREFIX,
  REG: SELECT_REG,
  W: SELECT_W,
} = SELECT;
const {
  ADDRESS_SIZE: PREFIX_ADDRESS_SIZE,
  CS: PREFIX_CS,
  DS: PREFIX_DS,
  LOCK: PREFIX_LOCK,
  OPERAND_SIZE: PREFIX_OPERAND_SIZE,
  REP: PREFIX_REP,
  REPNE: PREFIX_REPNE,
  REX: PREFIX_REX,
  REX_W: PREFIX_REX_W,
  SEGMENT_OVERRIDE: PREFIX_SEGMENT_OVERRIDE,
  VEX: PREFIX_VEX,
  VEX_L: PREFIX_VEX_L,
} = PREFIX;
const {
  FAR16: FROM_FAR16,
  FAR32: FROM_FAR32,
  IMM16: FROM_IMM16,
  IMM16_IMM8: FROM_IMM16_IMM8,
  IMM16_SIGNED: FROM_IMM16_SIGNED,
  IMM32: FROM_IMM32,
  IMM64: FROM_IMM64,
  IMM8: FROM_IMM8,
  IMM8_IMM8: FROM_IMM8_IMM8,
  IMM8_SIGNED: FROM_IMM8_SIGNED,
  IS4: FROM_IS4,
  MOFFS: FROM_MOFFS,
  NONE: FROM_NONE,
  REL16: FROM_REL16,
  REL32: FROM_REL32,
  REL8: FROM_REL8,
  XLAT: FROM_XLAT,
} = FROM;
const {
  TOO_LONG: INVALID_TOO_LONG,
  TRUNCATED: INVALID_TRUNCATED,
  UNDEFINED: INVALID_UNDEFINED,
  VALID: INVALID_VALID,
} = INVALID;

/** The mode that code is decoded for: the processor's default operand and address size. */
export type Mode = 16 | 32 | 64;

const MAX_LENGTH = 15;
/** Bytes that decoding may touch before it knows that the instruction is too long: 15 prefixes and the longest rest. */
const WINDOW = 48;

const SEGMENT_SS = 2;
const SEGMENT_DS = 3;
const SEGMENT_FS = 4;

/** Register number that an 8-bit register field without REX names, and whether it is a high byte, is decided here. */
const HIGH_BYTE_FIRST = 4;

// 90 is NOP only without REX.B (SDM 2B, XCHG); the table has both rows there.
compilePlace(0x90);
compilePlace(0x91);
const NOP_ROW = CELLS[DISPATCH[0x90]! >> 8]!;
const XCHG_ROW = CELLS[DISPATCH[0x91]! >> 8]!;
/** The same holds behind F3. */
const PAUSE_ROW = CELLS[(DISPATCH[0x90]! >> 8) + 2]!;

const VPEXTRD_ROW = OPCODES.findIndex(({ name }) => name === "vpextrd");
const VPINSRD_ROW = OPCODES.findIndex(({ name }) => name === "vpinsrd");

const UD0 = 0x1ff;
const UD1 = 0x1b9;

const window = new Uint8Array(WINDOW);

/**
 * Decodes the instruction at `code[offset]` into `into`, reading no byte at or past `end`.
 * Returns its length in bytes, or 0 with `into.invalid` saying why there is none. Allocates nothing.
 * Behaviour is that of an Intel processor (SDM volume 2) where Intel and AMD differ, unless `into.amd` is set.
 */
export function decode(code: Uint8Array, offset: number, end: number, mode: Mode, into: Instruction): number {
  const available = end - offset;
  if (available >= WINDOW) return decodeFrom(code, offset, WINDOW, mode, into);
  // Near the end: a zero-padded copy, so that the decoder needs no check per byte.
  window.fill(0);
  for (let at = 0; at < available; at++) window[at] = code[offset + at]!;
  return decodeFrom(window, 0, Math.max(available, 0), mode, into);
}

/** Fills `into` for bytes that are no instruction; `used` bytes were looked at to know. */
function fail(into: Instruction, mode: number, used: number, available: number): number {
  into.invalid =
    used > MAX_LENGTH && available >= MAX_LENGTH
      ? INVALID_TOO_LONG
      : used > available
        ? INVALID_TRUNCATED
        : INVALID_UNDEFINED;
  into.length = 0;
  into.mode = mode;
  into.row = 0;
  into.mnemonic = 0;
  into.operandCount = 0;
  into.prefixes = 0;
  return 0;
}

function decodeFrom(code: Uint8Array, start: number, available: number, mode: Mode, into: Instruction): number {
  let at = start;
  let prefixes = 0;
  let rex = 0;
  // Slot of the mandatory prefix: 0 none, 1 66, 2 F3, 3 F2.
  let slot = 0;
  let segment = NO_REGISTER;
  const long = mode === 64;
  const kinds = long ? 256 : 0;
  let byte = code[at]!;
  let kind = PREFIX_KIND[kinds + byte]!;
  while (kind !== 0) {
    if (kind === KIND.REX) {
      // SDM 2A 2.2.1: a REX counts only right before the opcode.
      rex = byte;
      byte = code[++at]!;
      kind = PREFIX_KIND[kinds + byte]!;
      if (kind === 0) break;
      rex = 0;
      if (at - start > MAX_LENGTH) return fail(into, mode, at - start, available);
      continue;
    }
    switch (kind) {
      case KIND.OPERAND_SIZE:
        prefixes |= PREFIX_OPERAND_SIZE;
        break;
      case KIND.ADDRESS_SIZE:
        prefixes |= PREFIX_ADDRESS_SIZE;
        break;
      case KIND.LOCK:
        prefixes |= PREFIX_LOCK;
        break;
      case KIND.REPNE:
        // The last of F2 and F3 is the one that counts.
        prefixes = (prefixes & ~PREFIX_REP) | PREFIX_REPNE;
        break;
      case KIND.REP:
        prefixes = (prefixes & ~PREFIX_REPNE) | PREFIX_REP;
        break;
      default: {
        const number = byte >= 0x64 ? byte - 0x60 : (byte >> 3) & 3;
        // In 64-bit mode ES, CS, SS and DS prefixes are ignored, also as to an earlier FS or GS.
        if (!long || number >= SEGMENT_FS) segment = number;
        prefixes &= ~(PREFIX_CS | PREFIX_DS);
        if (byte === 0x2e) prefixes |= PREFIX_CS;
        else if (byte === 0x3e) prefixes |= PREFIX_DS;
      }
    }
    byte = code[++at]!;
    kind = PREFIX_KIND[kinds + byte]!;
    if (at - start > MAX_LENGTH) return fail(into, mode, at - start, available);
  }
  if (prefixes !== 0) {
    if (prefixes & PREFIX_REP) slot = 2;
    else if (prefixes & PREFIX_REPNE) slot = 3;
    else if (prefixes & PREFIX_OPERAND_SIZE) slot = 1;
  }
  if (segment >= 0) prefixes |= PREFIX_SEGMENT_OVERRIDE;

  let place: number;
  let w = 0;
  let l = 0;
  let vvvv = 0;
  let vex = false;
  const opcodeOffset = at - start;
  let opcode = byte;
  at++;
  if (opcode === 0x0f) {
    opcode = code[at++]!;
    let map = 1;
    if (opcode === 0x38 || opcode === 0x3a) {
      map = opcode === 0x38 ? 2 : 3;
      opcode = code[at++]!;
    }
    place = (map << 8) | opcode;
  } else if ((opcode === 0xc5 || opcode === 0xc4) && (long || code[at]! >= 0xc0)) {
    // SDM 2A 2.3.2 to 2.3.4: no REX, 66, F2, F3 or LOCK before VEX.
    vex = true;
    const second = code[at++]!;
    let payload = second;
    let map = 1;
    rex = (~second >> 5) & 4;
    if (opcode === 0xc4) {
      map = second & 0x1f;
      payload = code[at++]!;
      rex = (~second >> 5) & 7;
      w = payload >> 7;
    }
    if (!long) rex = 0;
    opcode = code[at++]!;
    if (
      map < 1 ||
      map > 3 ||
      (prefixes & (PREFIX_LOCK | PREFIX_REP | PREFIX_REPNE | PREFIX_OPERAND_SIZE)) !== 0 ||
      ((code[start + opcodeOffset - 1]! & 0xf0) === 0x40 && long && opcodeOffset > 0)
    )
      return fail(into, mode, at - start, available);
    vvvv = (~payload >> 3) & 15;
    l = (payload >> 2) & 1;
    slot = (payload & 3) === 0 ? 0 : payload & 3;
    prefixes |= PREFIX_VEX;
    if (l) prefixes |= PREFIX_VEX_L;
    if (w) prefixes |= PREFIX_REX_W;
    place = ((4 + map) << 8) | opcode;
  } else place = opcode;
  if (rex !== 0 && !vex) {
    prefixes |= PREFIX_REX;
    if (rex & 8) prefixes |= PREFIX_REX_W;
  }

  const addressIndex = long
    ? prefixes & PREFIX_ADDRESS_SIZE
      ? 1
      : 2
    : (mode === 32) === ((prefixes & PREFIX_ADDRESS_SIZE) === 0)
      ? 1
      : 0;

  // AMD's UD0 and UD1 have no ModRM byte that would have to be fetched.
  if (into.amd && (place === UD0 || place === UD1)) return fail(into, mode, at - start, available);
  const dispatch = DISPATCH[place]!;
  const select = dispatch & 0xff;
  const modrm = code[at]!;
  let cell = 0;
  if (select !== 0) {
    if (select & SELECT_PREFIX) cell = slot;
    if (select & SELECT_REG) cell = (cell << 4) | (modrm >= 0xc0 ? 8 : 0) | ((modrm >> 3) & 7);
    else if (select & SELECT_MODRM) cell = (cell << 8) | modrm;
    if (select & SELECT_ADDRESS) cell = cell * 3 + addressIndex;
    if (select & SELECT_MODE) cell = (cell << 1) | (long ? 1 : 0);
    if (select & SELECT_W) cell = (cell << 1) | w;
    if (select & SELECT_L) cell = (cell << 1) | l;
  }
  let row = CELLS[(dispatch >> 8) + cell]!;
  if (row === 0) {
    if (dispatch === 0 && compilePlace(place)) return decodeFrom(code, start, available, mode, into);
    // AMD's processors fetch a ModRM byte for all of maps 0F38 and 0F3A before they refuse.
    const modrmSelects =
      (select & (SELECT_REG | SELECT_MODRM)) !== 0 || (into.amd && (place >> 8 === 2 || place >> 8 === 3));
    return fail(into, mode, at - start + (modrmSelects ? 1 : 0), available);
  }
  if ((row === NOP_ROW || row === PAUSE_ROW) && rex & 1) row = XCHG_ROW;
  let info = row * (VARIANTS * INFO_LENGTH);
  const flags = INFO_TABLE[info]!;
  if (flags & ROW_NOT_AMD && into.amd) return fail(into, mode, at - start + 1, available);

  // Operand size: 0 is 16, 1 is 32, 2 is 64 bits.
  let sizeIndex: number;
  let variant: number;
  if (vex) {
    sizeIndex = w && long ? 2 : 1;
    variant = (sizeIndex - 1) | (l << 1);
    // Outside of 64-bit mode VEX.W is ignored, which AMD's processors don't do here: measured.
    if (w !== 0 && !long && into.amd && (row === VPEXTRD_ROW || row === VPINSRD_ROW))
      return fail(into, mode, at - start + 1, available);
    if (vvvv !== 0 && (flags & ROW_VVVV) === 0) return fail(into, mode, at - start + 1, available);
    if (!long) vvvv &= 7;
  } else {
    const eats66 = (flags & (ROW_EATS_66 | ROW_OPSIZE_TOO)) === ROW_EATS_66;
    const small = (prefixes & PREFIX_OPERAND_SIZE) !== 0 && !eats66;
    if (long) {
      if (into.amd && flags & ROW_FAR_POINTER) sizeIndex = small && !(rex & 8) ? 0 : 1;
      else if (rex & 8 || (flags & ROW_F64 && !(into.amd && small && flags & ROW_NEAR))) sizeIndex = 2;
      else if (small) sizeIndex = 0;
      else sizeIndex = flags & ROW_D64 ? 2 : 1;
    } else sizeIndex = (mode === 32) === small ? 0 : 1;
    variant = sizeIndex;
    if (flags & (ROW_EATS_66 | ROW_EATS_F3 | ROW_EATS_F2)) {
      if (eats66) prefixes &= ~PREFIX_OPERAND_SIZE;
      else if (flags & ROW_EATS_F3) {
        prefixes &= ~PREFIX_REP;
        if (flags & ROW_NO_66 && prefixes & PREFIX_OPERAND_SIZE) return fail(into, mode, at - start + 1, available);
      }
      if (flags & ROW_EATS_F2) prefixes &= ~PREFIX_REPNE;
    }
  }

  let base = NO_REGISTER;
  let index = NO_REGISTER;
  let scale = 0;
  let displacement = 0;
  let displacementOffset = 0;
  let register = true;
  let reg = 0;
  let rm = 0;
  let defaultSegment = SEGMENT_DS;
  if (flags & ROW_MODRM) {
    at++;
    reg = ((modrm >> 3) & 7) | ((rex & 4) << 1);
    rm = modrm & 7;
    const mod = modrm >> 6;
    if (mod === 3 || flags & ROW_MODREG) rm |= (rex & 1) << 3;
    else {
      register = false;
      if (addressIndex !== 0) {
        if (rm === 4) {
          const sib = code[at++]!;
          scale = sib >> 6;
          index = ((sib >> 3) & 7) | ((rex & 2) << 2);
          if (index === 4 && (flags & ROW_VSIB) === 0) {
            index = NO_REGISTER;
            scale = 0;
          }
          rm = sib & 7;
          if (rm === 5 && mod === 0) {
            displacementOffset = at;
            displacement = code[at]! | (code[at + 1]! << 8) | (code[at + 2]! << 16) | (code[at + 3]! << 24);
            at += 4;
          } else {
            if (rm === 4 || rm === 5) {
              if ((rex & 1) === 0) defaultSegment = SEGMENT_SS;
            }
            base = rm | ((rex & 1) << 3);
          }
        } else if (rm === 5 && mod === 0) {
          displacementOffset = at;
          displacement = code[at]! | (code[at + 1]! << 8) | (code[at + 2]! << 16) | (code[at + 3]! << 24);
          at += 4;
          if (long) base = BASE_RIP;
        } else {
          if (rm === 5 && (rex & 1) === 0) defaultSegment = SEGMENT_SS;
          base = rm | ((rex & 1) << 3);
        }
        if (mod === 1) {
          displacementOffset = at;
          displacement = (code[at++]! << 24) >> 24;
        } else if (mod === 2) {
          displacementOffset = at;
          displacement = code[at]! | (code[at + 1]! << 8) | (code[at + 2]! << 16) | (code[at + 3]! << 24);
          at += 4;
        }
      } else {
        if (mod === 0 && rm === 6) {
          displacementOffset = at;
          displacement = ((code[at]! | (code[at + 1]! << 8)) << 16) >> 16;
          at += 2;
        } else {
          base = BASE16[rm]!;
          index = INDEX16[rm]!;
          if (base === 5) defaultSegment = SEGMENT_SS;
          if (mod === 1) {
            displacementOffset = at;
            displacement = (code[at++]! << 24) >> 24;
          } else if (mod === 2) {
            displacementOffset = at;
            displacement = ((code[at]! | (code[at + 1]! << 8)) << 16) >> 16;
            at += 2;
          }
        }
        if (flags & ROW_VSIB) return fail(into, mode, at - start, available);
      }
      if (flags & ROW_VSIB && (modrm & 7) !== 4) return fail(into, mode, at - start, available);
    }
  }
  if (prefixes & PREFIX_LOCK && (register || (flags & ROW_LOCKABLE) === 0))
    return fail(into, mode, at - start, available);

  // SDM 2C, VPGATHERDD: index, mask and destination must be three registers.
  if (flags & ROW_VSIB && (index === reg || index === vvvv || reg === vvvv))
    return fail(into, mode, at - start, available);

  info += variant * INFO_LENGTH;
  let classes = INFO_TABLE[info + INFO_CLASSES]!;
  let registers = INFO_TABLE[info + INFO_REGISTERS]!;
  if (flags & (ROW_REG_LOW3 | ROW_RM_LOW3 | ROW_REG_CHECKED | ROW_ADDRESS_REG)) {
    if (flags & ROW_ADDRESS_REG) classes += addressIndex - 2;
    if (flags & ROW_REG_LOW3) reg &= 7;
    if (flags & ROW_RM_LOW3) rm &= 7;
    if (flags & ROW_REG_CHECKED && !exists(INFO_TABLE[info + INFO_REG_CLASS]!, reg, flags))
      return fail(into, mode, at - start, available);
  }
  if (rex === 0 && flags & (ROW_REG_BYTE | ROW_RM_BYTE | ROW_OPCODE_BYTE)) {
    // The class after GPR8 is that of the high bytes.
    if (flags & ROW_REG_BYTE && reg >= HIGH_BYTE_FIRST) {
      reg -= HIGH_BYTE_FIRST;
      classes += INFO_TABLE[info + INFO_REG_SLOT]!;
    }
    if (flags & ROW_RM_BYTE && register && rm >= HIGH_BYTE_FIRST) {
      rm -= HIGH_BYTE_FIRST;
      classes += INFO_TABLE[info + INFO_RM_SLOT]!;
    }
    if (flags & ROW_OPCODE_BYTE && (opcode & 7) >= HIGH_BYTE_FIRST) {
      registers -= HIGH_BYTE_FIRST * INFO_TABLE[info + INFO_OPCODE_SLOT]!;
      classes += INFO_TABLE[info + INFO_OPCODE_SLOT]!;
    }
  }
  registers += Math.imul(reg, INFO_TABLE[info + INFO_REG_SLOT]!);
  const words = into.words;
  if (register) {
    registers += Math.imul(rm, INFO_TABLE[info + INFO_RM_SLOT]!);
    words[0] = INFO_TABLE[info + INFO_KINDS_REGISTER]!;
  } else words[0] = INFO_TABLE[info + INFO_KINDS_MEMORY]!;
  if (vex) registers += Math.imul(vvvv, INFO_TABLE[info + INFO_VVVV_SLOT]!);
  else registers += Math.imul((opcode & 7) | ((rex & 1) << 3), INFO_TABLE[info + INFO_OPCODE_SLOT]!);

  let immediate = 0;
  let immediateHigh = 0;
  let immediate2 = 0;
  let immediateOffset = 0;
  let displacementHigh = displacement >> 31;
  const following = INFO_TABLE[info + INFO_IMMEDIATE]!;
  if (following !== FROM_NONE) {
    immediateOffset = at;
    switch (following) {
      case FROM_IMM8_SIGNED:
      case FROM_REL8:
        immediate = (code[at++]! << 24) >> 24;
        immediateHigh = immediate >> 31;
        break;
      case FROM_IMM32:
      case FROM_REL32:
        immediate = code[at]! | (code[at + 1]! << 8) | (code[at + 2]! << 16) | (code[at + 3]! << 24);
        immediateHigh = immediate >> 31;
        at += 4;
        break;
      case FROM_IMM8:
        immediate = code[at++]!;
        break;
      case FROM_IMM16_SIGNED:
      case FROM_REL16:
        immediate = ((code[at]! | (code[at + 1]! << 8)) << 16) >> 16;
        immediateHigh = immediate >> 31;
        at += 2;
        break;
      case FROM_IMM16:
        immediate = code[at]! | (code[at + 1]! << 8);
        at += 2;
        break;
      case FROM_IMM64:
        immediate = code[at]! | (code[at + 1]! << 8) | (code[at + 2]! << 16) | (code[at + 3]! << 24);
        immediateHigh = code[at + 4]! | (code[at + 5]! << 8) | (code[at + 6]! << 16) | (code[at + 7]! << 24);
        at += 8;
        break;
      case FROM_IMM16_IMM8:
        immediate = code[at]! | (code[at + 1]! << 8);
        immediate2 = code[at + 2]!;
        at += 3;
        break;
      case FROM_IMM8_IMM8:
        immediate = code[at]!;
        immediate2 = code[at + 1]!;
        at += 2;
        break;
      case FROM_IS4:
        immediate = code[at++]!;
        registers += Math.imul(long ? immediate >> 4 : (immediate >> 4) & 7, INFO_TABLE[info + INFO_OPCODE_SLOT]!);
        break;
      case FROM_FAR16:
        immediate = code[at]! | (code[at + 1]! << 8);
        immediate2 = code[at + 2]! | (code[at + 3]! << 8);
        at += 4;
        break;
      case FROM_FAR32:
        immediate = code[at]! | (code[at + 1]! << 8) | (code[at + 2]! << 16) | (code[at + 3]! << 24);
        immediate2 = code[at + 4]! | (code[at + 5]! << 8);
        at += 6;
        break;
      case FROM_XLAT:
        immediateOffset = 0;
        base = 3;
        break;
      case FROM_MOFFS:
        immediateOffset = 0;
        displacementOffset = at;
        displacement = code[at]! | (code[at + 1]! << 8);
        if (addressIndex === 0) {
          displacement = (displacement << 16) >> 16;
          displacementHigh = displacement >> 31;
          at += 2;
        } else {
          displacement |= (code[at + 2]! << 16) | (code[at + 3]! << 24);
          displacementHigh = displacement >> 31;
          at += 4;
          if (addressIndex === 2) {
            displacementHigh = code[at]! | (code[at + 1]! << 8) | (code[at + 2]! << 16) | (code[at + 3]! << 24);
            at += 4;
          }
        }
        break;
    }
  }
  words[1] = classes;
  words[2] = registers;
  words[4] = INFO_TABLE[info + INFO_SIZES]!;
  words[5] = INFO_TABLE[info + INFO_SIZES_HIGH]!;

  const length = at - start;
  if (length > available || length > MAX_LENGTH) return fail(into, mode, length, available);
  const condition = flags & ROW_CONDITIONAL ? opcode & 15 : 0;
  into.length = length;
  into.invalid = INVALID_VALID;
  into.mode = mode;
  into.row = row;
  into.mnemonic = INFO_TABLE[info + INFO_MNEMONIC]! + condition;
  into.operandSize = INFO_TABLE[info + INFO_SIZE]!;
  into.addressSize = 2 << addressIndex;
  into.prefixes = prefixes;
  into.condition = condition;
  into.segment = segment >= 0 ? segment : defaultSegment;
  into.base = base;
  into.index = index;
  into.scale = scale;
  into.displacement = displacement;
  into.displacementHigh = displacementHigh;
  into.immediate = immediate;
  into.immediateHigh = immediateHigh;
  into.immediate2 = immediate2;
  into.opcodeOffset = opcodeOffset;
  into.displacementOffset = displacementOffset === 0 ? 0 : displacementOffset - start;
  into.immediateOffset = immediateOffset === 0 ? 0 : immediateOffset - start;
  into.operandCount = INFO_TABLE[info + INFO_COUNT]!;
  return length;
}
