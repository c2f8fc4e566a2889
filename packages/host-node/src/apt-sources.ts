import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { ParavirtError } from "@paravirt/core";

/** Where {@link debianSources} looks. */
export interface SourcesOptions {
  /** Debian release by name; that of the machine's own sources when left out. */
  readonly suite?: string;
  /** Stops apt. */
  readonly signal?: AbortSignal;
  /** Other programs than `apt-get` and `apt-config`. */
  readonly sourcePrograms?: {
    /** Path of `apt-get`. */
    readonly get: string;
    /** Path of `apt-config`. */
    readonly config: string;
  };
}

/** Package sources for a Debian system. */
export interface DebianSources {
  /** The release's name. */
  readonly suite: string;
  /** Lines as in a `sources.list`. */
  readonly lines: readonly string[];
  /** Settings that make them reachable from here: proxies. */
  readonly settings: readonly string[];
}

interface Target {
  readonly uri: string;
  readonly release: string;
  readonly label: string;
  readonly component: string;
}

/** Releases that have neither an update nor a security archive. */
const ROLLING: ReadonlySet<string> = new Set(["sid", "unstable", "experimental"]);

/**
 * The machine's own sources of Debian packages, as apt has them; for another release than the machine's, the same
 * mirrors. Throws `UNAVAILABLE` when apt has none.
 */
export async function debianSources(options: SourcesOptions = {}): Promise<DebianSources> {
  const { get = "apt-get", config = "apt-config" } = options.sourcePrograms ?? {};
  const format = "$(REPO_URI)|$(RELEASE)|$(LABEL)|$(COMPONENT)";
  const text = await output(get, ["indextargets", "--format", format, "Created-By: Packages"], options.signal);
  const targets = [...new Set(text.split("\n"))].flatMap(target);
  const main = targets.find((one) => !isSecurity(one) && !one.release.includes("-"));
  if (main === undefined)
    throw new ParavirtError("UNAVAILABLE", "apt has no Debian sources: the machine's own packages make the image");
  const suite = options.suite ?? own(targets) ?? main.release;
  const settings = proxies(await output(config, ["dump", "Acquire"], options.signal));
  const same = targets.filter(({ release }) => release === suite || release.startsWith(`${suite}-`));
  return {
    suite,
    settings,
    lines: lines(same.some(({ release }) => release === suite) ? same : moved(targets, suite)),
  };
}

/** What isn't Debian's own is not for a Debian image; without fetched lists only the address tells. */
function target(line: string): Target[] {
  const [uri = "", release = "", label = "", component = ""] = line.split("|");
  const isDebian =
    /^Debian(-Security)?$/.test(label) || (!/^[A-Za-z]/.test(label) && /\/debian(-security)?\/$/.test(uri));
  return isDebian ? [{ uri, release, label, component }] : [];
}

const isSecurity = ({ release }: Target): boolean => release.endsWith("-security");

/** The release that this machine runs, if its sources have it. */
function own(targets: readonly Target[]): string | undefined {
  try {
    const name = /^VERSION_CODENAME=(.*)$/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1];
    return targets.some(({ release }) => release === name) ? name : undefined;
  } catch {
    return undefined;
  }
}

/** The sources of another release, at the mirrors of this one. */
function moved(targets: readonly Target[], suite: string): readonly Target[] {
  return targets.flatMap((one) => {
    const end = /(-.*)?$/.exec(one.release)![0];
    if (end !== "" && ROLLING.has(suite)) return [];
    return end === "" || end === "-updates" || end === "-security" ? [{ ...one, release: `${suite}${end}` }] : [];
  });
}

function lines(targets: readonly Target[]): readonly string[] {
  const components = new Map<string, Set<string>>();
  for (const { uri, release, component } of targets) {
    const key = `deb ${uri} ${release}`;
    components.set(key, (components.get(key) ?? new Set()).add(component));
  }
  return [...components].map(([key, names]) => `${key} ${[...names].join(" ")}`);
}

/** Settings by which this machine's apt gets out. */
function proxies(dump: string): readonly string[] {
  return dump.split("\n").filter((line) => /^Acquire::(http|https|ftp)::Proxy(::[^ ]*)? "[^"]+";$/.test(line));
}

function output(program: string, args: readonly string[], signal: AbortSignal | undefined): Promise<string> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, LC_ALL: "C" };
    execFile(program, args, { env, ...(signal === undefined ? {} : { signal }) }, (error, stdout) => {
      if (error === null) resolve(stdout);
      else if (signal?.aborted === true) reject(signal.reason);
      else
        reject(
          new ParavirtError(
            "UNAVAILABLE",
            (error as NodeJS.ErrnoException).code === "ENOENT"
              ? `${program} is not on this machine: a Debian image is made from apt's own sources`
              : `${program} failed: ${error.message.split("\n")[0]}`,
          ),
        );
    });
  });
}
