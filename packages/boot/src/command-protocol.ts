import { ParavirtError } from "@paravirt/core";
import { writeCpio } from "./cpio.ts";
import { utf8Encode } from "./text.ts";

// Guest to host: 0x1e, a type letter, the payload's size in decimal, a line feed, the payload.
//   s start (payload: protocol version)   o standard output   e standard error   x exit (payload: status)
// Host to guest, only after the start frame: the size in decimal, a line feed, the bytes; size 0 is end of file.

const MARK = 0x1e;
const LINE_FEED = 0x0a;
/** Longest payload that a guest sends; more is no frame. */
const MAX_PAYLOAD = 65536;
const VERSION = "1";

/** Who hears what a guest in command mode sends; payloads are views, valid only during the call. */
export interface CommandReceiver {
  /** The command is about to run; standard input may be sent from now on. */
  onStart?(): void;
  /** Bytes that the command wrote to its standard output. */
  onStdout?(bytes: Uint8Array): void;
  /** Bytes that the command wrote to its standard error. */
  onStderr?(bytes: Uint8Array): void;
  /** The command ended with this status, 0 to 255; nothing follows. */
  onExit?(status: number): void;
  /** Bytes of the console outside every frame: kernel messages. */
  onNoise?(bytes: Uint8Array): void;
}

/** Takes the console output of a guest in command mode apart. */
export interface CommandDecoder {
  /** Takes the next bytes of the console, in pieces of any size. */
  push(bytes: Uint8Array): void;
  /** The command's exit status, once it is known. */
  readonly exitStatus: number | undefined;
  /** Whether the guest's side has started. */
  readonly started: boolean;
}

/** Makes a decoder for the console output of a guest that was started with a {@link commandArchive}. */
export function createCommandDecoder(receiver: CommandReceiver): CommandDecoder {
  let type = 0;
  let remaining = 0;
  let started = false;
  let exitStatus: number | undefined;
  let header: number[] = [];
  let small = "";

  const noise = (bytes: Uint8Array): void => {
    if (bytes.length > 0) receiver.onNoise?.(bytes);
  };
  /** Starts a payload if `header` (after the mark, without its line feed) is one. */
  const begin = (): boolean => {
    const letter = String.fromCharCode(header[1] ?? 0);
    const digits = String.fromCharCode(...header.slice(2));
    if (!"soex".includes(letter) || !/^[0-9]{1,5}$/.test(digits)) return false;
    const size = Number(digits);
    if (size < 1 || size > MAX_PAYLOAD || (!started && letter !== "s")) return false;
    type = header[1]!;
    remaining = size;
    small = "";
    return true;
  };
  const deliver = (bytes: Uint8Array): void => {
    if (type === 0x6f) receiver.onStdout?.(bytes);
    else if (type === 0x65) receiver.onStderr?.(bytes);
    else for (const byte of bytes) small += String.fromCharCode(byte);
    remaining -= bytes.length;
    if (remaining > 0) return;
    if (type === 0x73) {
      if (small !== VERSION) throw new ParavirtError("UNSUPPORTED", `command protocol ${small}; ${VERSION} is known`);
      started = true;
      receiver.onStart?.();
    } else if (type === 0x78) {
      exitStatus = Number.parseInt(small, 10) & 0xff;
      receiver.onExit?.(exitStatus);
    }
  };
  return {
    get exitStatus() {
      return exitStatus;
    },
    get started() {
      return started;
    },
    push(bytes) {
      let at = 0;
      while (at < bytes.length) {
        if (remaining > 0) {
          const size = Math.min(remaining, bytes.length - at);
          deliver(bytes.subarray(at, at + size));
          at += size;
        } else if (header.length === 0) {
          let mark = bytes.indexOf(MARK, at);
          if (mark < 0) mark = bytes.length;
          noise(bytes.subarray(at, mark));
          at = mark;
          if (at < bytes.length) header.push(bytes[at++]!);
        } else {
          const byte = bytes[at]!;
          if (byte === LINE_FEED && begin()) {
            header = [];
            at++;
          } else if (byte === MARK || byte === LINE_FEED || header.length > 7) {
            noise(Uint8Array.from(header));
            header = [];
          } else {
            header.push(byte);
            at++;
          }
        }
      }
    },
  };
}

/** Longest piece of standard input that goes into one frame, in bytes. */
export const COMMAND_INPUT_LIMIT = 16384;
/** hvc_console takes ^O as the start of a SysRq unless it comes twice (CONFIG_MAGIC_SYSRQ, as Debian has it). */
const SYSRQ_KEY = 0x0f;

/**
 * Frames bytes of the host's standard input for the guest's command; longer input becomes several frames.
 * Send it only after {@link CommandReceiver.onStart}. `sysrq` (default true) says that the console's driver takes ^O
 * for itself, so that it must be doubled.
 */
export function encodeCommandInput(bytes: Uint8Array, options: { readonly sysrq?: boolean } = {}): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += COMMAND_INPUT_LIMIT) {
    const piece = bytes.subarray(at, at + COMMAND_INPUT_LIMIT);
    parts.push(utf8Encode(`${piece.length}\n`), options.sysrq === false ? piece : doubled(piece));
  }
  return concat(parts);
}

/** The frame that ends the command's standard input. */
export function encodeCommandInputEnd(): Uint8Array {
  return utf8Encode("0\n");
}

function doubled(bytes: Uint8Array): Uint8Array {
  let keys = 0;
  for (const byte of bytes) if (byte === SYSRQ_KEY) keys++;
  if (keys === 0) return bytes;
  const out = new Uint8Array(bytes.length + keys);
  let at = 0;
  for (const byte of bytes) {
    out[at++] = byte;
    if (byte === SYSRQ_KEY) out[at++] = byte;
  }
  return out;
}

/** Options of {@link commandArchive}. */
export interface CommandOptions {
  /** Environment variables on top of PATH, HOME and TERM. */
  readonly env?: Readonly<Record<string, string>>;
  /** Where it starts; `/root` when left out. A folder that isn't there ends the command with status 126. */
  readonly cwd?: string;
}

/**
 * A cpio archive that tells the generated `/init` which command to run; append it to the initramfs.
 * Arguments arrive byte for byte: spaces, quotes, line feeds, any byte but zero, which throws `BAD_ARGUMENT`.
 */
export function commandArchive(argv: readonly (string | Uint8Array)[], options: CommandOptions = {}): Uint8Array {
  return writeCpio([{ path: "paravirt/command", type: "file", mode: 0o755, data: commandScript(argv, options) }]);
}

/** The shell script that becomes the command: exports, its folder, then `exec` with every argument quoted. */
export function commandScript(argv: readonly (string | Uint8Array)[], options: CommandOptions = {}): Uint8Array {
  if (argv.length === 0) throw new ParavirtError("BAD_ARGUMENT", "a command of 0 words, needs 1");
  const parts: Uint8Array[] = [];
  for (const [name, value] of Object.entries(options.env ?? {})) {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      throw new ParavirtError("BAD_ARGUMENT", `"${name}" is no name of an environment variable`);
    }
    parts.push(utf8Encode(`export ${name}=`), quoteWord(utf8Encode(value)), utf8Encode("\n"));
  }
  if (options.cwd !== undefined) {
    // A name that starts with a dash would be an option, and "-" the folder before.
    const path = options.cwd.startsWith("/") ? options.cwd : `./${options.cwd}`;
    parts.push(utf8Encode("cd "), quoteWord(utf8Encode(path)), utf8Encode(" || exit 126\n"));
  }
  // `--` would be taken for the program's name by busybox's exec, so a first word that starts with `-` needs a path.
  parts.push(utf8Encode("exec"));
  for (const word of argv) {
    parts.push(utf8Encode(" "), quoteWord(typeof word === "string" ? utf8Encode(word) : word));
  }
  parts.push(utf8Encode("\n"));
  return concat(parts);
}

/** One word for a shell, byte for byte: single quotes keep everything. Throws `BAD_ARGUMENT` for a zero byte. */
export function quoteWord(bytes: Uint8Array): Uint8Array {
  if (bytes.includes(0)) throw new ParavirtError("BAD_ARGUMENT", "an argument with a zero byte");
  const parts: Uint8Array[] = [utf8Encode("'")];
  let from = 0;
  // A single quote itself leaves the quotes for a moment.
  for (let at = bytes.indexOf(0x27); at >= 0; at = bytes.indexOf(0x27, at + 1)) {
    parts.push(bytes.subarray(from, at), utf8Encode("'\\''"));
    from = at + 1;
  }
  parts.push(bytes.subarray(from), utf8Encode("'"));
  return concat(parts);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
