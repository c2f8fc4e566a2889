import { spawn } from "node:child_process";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { ParavirtError } from "@paravirt/core";

/** Names or paths of the two programs that are run; tests put others in their place. */
export interface AptPrograms {
  /** `apt-get` when left alone. */
  readonly get: string;
  /** `apt-cache` when left alone. */
  readonly cache: string;
}

/** What {@link openApt} needs to know. */
export interface AptOptions {
  /** Folder for package lists of our own, where the machine's are missing and may not be fetched. */
  readonly stateFolder: string;
  /** Hears how far a download is: 0 to 1. */
  onProgress?(step: "lists" | "package", name: string, fraction: number): void;
  /** Ends a running download. */
  readonly signal?: AbortSignal;
  /** Other programs than `apt-get` and `apt-cache`. */
  readonly programs?: AptPrograms;
}

/** A package as apt would install it. */
export interface AptPackage {
  /** Package name. */
  readonly name: string;
  /** Candidate version. */
  readonly version: string;
  /** Its control fields. */
  readonly fields: ReadonlyMap<string, string>;
}

/** The machine's own package sources, through apt, without root. */
export interface Apt {
  /** The candidate of `name`; fetches the package lists first where they are missing. Throws `UNAVAILABLE`. */
  find(name: string): Promise<AptPackage>;
  /** Downloads one package, verified by apt, into `folder`, and answers the file's path. Throws `UNAVAILABLE`. */
  download(found: AptPackage, folder: string): Promise<string>;
}

interface Output {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Opens the machine's package sources. Nothing runs before the first call of a method. */
export function openApt(options: AptOptions): Apt {
  const get = options.programs?.get ?? "apt-get";
  const cache = options.programs?.cache ?? "apt-cache";
  // With lists of our own, apt needs no root for anything that we do.
  let settings: readonly string[] = [];
  let updated = false;
  const common = ["-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=2"];

  const run = (program: string, args: readonly string[], cwd: string, progress?: (fraction: number) => void) =>
    runProgram(program, [...settings, ...common, ...args], cwd, progress, options.signal);

  const show = async (name: string): Promise<AptPackage | undefined> => {
    const result = await run(cache, ["show", "--no-all-versions", name], "/");
    const fields = controlFields(result.stdout);
    const version = fields.get("Version");
    return result.status !== 0 || version === undefined ? undefined : { name, version, fields };
  };

  const update = async (): Promise<void> => {
    if (process.getuid?.() !== 0) {
      const folder = options.stateFolder;
      mkdirSync(join(folder, "lists", "partial"), { recursive: true });
      mkdirSync(join(folder, "archives", "partial"), { recursive: true });
      settings = [
        ...["-o", `Dir::State::Lists=${join(folder, "lists")}`],
        ...["-o", `Dir::Cache=${folder}`],
        ...["-o", "Dir::Cache::Archives=archives"],
      ];
    }
    options.onProgress?.("lists", "package lists", 0);
    const result = await run(get, ["update", "-o", "APT::Status-Fd=3"], "/", (fraction) =>
      options.onProgress?.("lists", "package lists", fraction),
    );
    updated = true;
    // apt-get update answers 0 with warnings when some source can't be reached; what counts is whether find succeeds.
    if (result.status !== 0) throw aptFailed("fetch the package lists", result);
    options.onProgress?.("lists", "package lists", 1);
  };

  const find = async (name: string): Promise<AptPackage> => {
    let found = await show(name);
    if (found === undefined && !updated) {
      await update();
      found = await show(name);
    }
    if (found === undefined) {
      throw new ParavirtError(
        "UNAVAILABLE",
        `apt knows no package ${name}; are Debian's sources configured, and is there a network?`,
      );
    }
    return found;
  };

  return {
    find,
    async download(found, folder) {
      const fetchOnce = (what: AptPackage): Promise<Output> => {
        options.onProgress?.("package", what.name, 0);
        const args = ["download", "-o", "APT::Status-Fd=3", `${what.name}=${what.version}`];
        return run(get, args, folder, (fraction) => options.onProgress?.("package", what.name, fraction));
      };
      let result = await fetchOnce(found);
      if (result.status !== 0 && !updated) {
        // Lists that are too old name versions that the mirror has dropped.
        await update();
        result = await fetchOnce(await find(found.name));
      }
      if (result.status !== 0) throw aptFailed(`download ${found.name}`, result);
      const file = readdirSync(folder).find((name) => name.startsWith(`${found.name}_`) && name.endsWith(".deb"));
      if (file === undefined) throw new ParavirtError("UNAVAILABLE", `apt-get download ${found.name} left no file`);
      options.onProgress?.("package", found.name, 1);
      return join(folder, file);
    },
  };
}

/** One clear line from apt's output. */
function aptFailed(what: string, result: Output): ParavirtError {
  const lines = result.stderr.split("\n").map((line) => line.trim());
  const errors = lines.filter((line) => line.startsWith("E:") || line.startsWith("Err:"));
  const said = (errors[0] ?? lines.find((line) => line !== "") ?? `status ${result.status}`).replace(/^E:\s*/, "");
  const network = /resolv|connect|network|timed? ?out|unreachable|Failed to fetch/i.test(result.stderr);
  const hint = network ? " (no network?)" : "";
  return new ParavirtError("UNAVAILABLE", `apt-get could not ${what}${hint}: ${said}`);
}

/** The first paragraph of control fields in `text`. */
function controlFields(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const line of text.split("\n")) {
    if (line === "" && fields.size > 0) break;
    const match = /^([A-Za-z0-9-]+):\s*(.*)$/.exec(line);
    if (match !== null) fields.set(match[1]!, match[2]!);
  }
  return fields;
}

function runProgram(
  program: string,
  args: readonly string[],
  cwd: string,
  progress: ((fraction: number) => void) | undefined,
  signal: AbortSignal | undefined,
): Promise<Output> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd,
      env: { ...process.env, LC_ALL: "C", DEBIAN_FRONTEND: "noninteractive" },
      stdio: ["ignore", "pipe", "pipe", "pipe"],
      ...(signal === undefined ? {} : { signal }),
    });
    let stdout = "";
    let stderr = "";
    child.stdout!.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    (child.stdio[3] as NodeJS.ReadableStream).setEncoding("utf8").on("data", (text) => {
      for (const line of String(text).split("\n")) {
        const match = /^(?:dl|pm)status:[^:]*:([0-9.]+):/.exec(line);
        if (match !== null) progress?.(Math.min(1, Number(match[1]) / 100));
      }
    });
    child.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") {
        const what = `${program} is not on this machine`;
        reject(new ParavirtError("UNAVAILABLE", `${what}: "debian" needs apt; give a kernel by --kernel instead`));
      } else if (signal?.aborted === true) reject(signal.reason);
      else reject(new ParavirtError("UNAVAILABLE", `${program} could not be started: ${error.message}`));
    });
    child.on("close", (status) => resolve({ status: status ?? 1, stdout, stderr }));
  });
}
