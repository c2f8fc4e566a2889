import type { XenstoreErrno } from "./errors.ts";
import { domainPath } from "./path.ts";
import { isQuotaName } from "./quota.ts";
import type { XenstoreRequest } from "./request.ts";
import { ALL_FEATURES, type StoreState } from "./state.ts";
import { latin1Encode } from "./text.ts";

/** Requests about domains rather than nodes. */
export type PrivilegedRequest = Extract<
  XenstoreRequest,
  {
    kind:
      | "introduce"
      | "release"
      | "resume"
      | "get-domain-path"
      | "is-introduced"
      | "set-target"
      | "get-feature"
      | "set-feature"
      | "get-quota"
      | "set-quota";
  }
>;

/** What the store needs of its host for requests about domains. */
export interface DomainHooks {
  /** Connects a domain's ring as INTRODUCE asks; false when frame or event channel can't be had. */
  introduce(domid: number, gfn: number, port: number): boolean | "unsupported";
}

/** Domain ids from here on are Xen's special ones (`DOMID_FIRST_RESERVED`). */
const FIRST_RESERVED = 0x7ff0;
const DOMID_SELF = 0x7ff0;

/** Carries out a request about domains for a caller who may make it. */
export function domainOperation(
  state: StoreState,
  hooks: DomainHooks,
  request: PrivilegedRequest,
  callerDomid: number,
): Uint8Array | XenstoreErrno | undefined {
  switch (request.kind) {
    case "get-domain-path":
      return reply(domainPath(request.domid === DOMID_SELF ? callerDomid : request.domid));
    case "is-introduced":
      return reply(isIntroduced(state, request.domid) ? "T" : "F");
    case "introduce": {
      if (request.domid === 0 || request.domid >= FIRST_RESERVED) return "EINVAL";
      const done = hooks.introduce(request.domid, request.gfn, request.port);
      return done === "unsupported" ? "ENOSYS" : done ? undefined : "EINVAL";
    }
    case "release":
      if (request.domid === 0) return "EINVAL";
      return state.removeDomain(request.domid) ? undefined : "ENOENT";
    case "resume":
      // A domain's end is told by the host, once each time, so there is no state here that would have to be rewound.
      return isIntroduced(state, request.domid) ? undefined : "ENOENT";
    case "set-target":
      if (!isIntroduced(state, request.domid) || !isIntroduced(state, request.target)) return "ENOENT";
      state.domain(request.domid).caller.target = request.target;
      return undefined;
    case "get-feature":
      if (request.domid === undefined) return reply(String(ALL_FEATURES));
      return reply(String(state.knownDomain(request.domid)?.features ?? ALL_FEATURES));
    case "set-feature":
      if ((request.value & ~ALL_FEATURES) !== 0) return "EINVAL";
      if (isIntroduced(state, request.domid)) return "EBUSY";
      state.domain(request.domid).features = request.value;
      return undefined;
    case "get-quota":
      return getQuota(state, request.domid, request.quota);
    case "set-quota":
      return setQuota(state, request.domid, request.quota, request.value);
  }
}

function isIntroduced(state: StoreState, domid: number): boolean {
  return domid === 0 || domid === DOMID_SELF || state.knownDomain(domid)?.ring !== undefined;
}

function getQuota(state: StoreState, domid: number | undefined, quota: string | undefined): Uint8Array | XenstoreErrno {
  if (quota === undefined) return domid === undefined ? reply(Object.keys(state.quotas).join(" ")) : "EINVAL";
  if (!isQuotaName(quota)) return "EINVAL";
  const domain = domid === undefined ? undefined : state.knownDomain(domid);
  return reply(String((domain ?? state).quotas[quota]));
}

function setQuota(
  state: StoreState,
  domid: number | undefined,
  quota: string,
  value: number,
): XenstoreErrno | undefined {
  if (!isQuotaName(quota)) return "EINVAL";
  state.setQuota(domid, quota, value);
  return undefined;
}

/** CONTROL: `help`, `check`, `quota` (show, `set NAME VALUE`, or a domain's use). Other commands are the daemon's own. */
export function controlStore(state: StoreState, words: readonly string[]): Uint8Array | XenstoreErrno | undefined {
  switch (words[0]) {
    case "help":
      return reply("help check quota");
    case "check":
      return undefined;
    case "quota":
      return controlQuota(state, words.slice(1));
    default:
      return "EINVAL";
  }
}

function controlQuota(state: StoreState, words: readonly string[]): Uint8Array | XenstoreErrno | undefined {
  const first = words[0] ?? "";
  if (first === "") {
    return reply(
      Object.entries(state.quotas)
        .map(([name, value]) => `${name}: ${value}\n`)
        .join(""),
    );
  }
  if (first === "set") {
    const [, quota = "", value = ""] = words;
    return /^\d{1,9}$/.test(value) ? setQuota(state, undefined, quota, Number(value)) : "EINVAL";
  }
  const domain = /^\d{1,5}$/.test(first) ? state.knownDomain(Number(first)) : undefined;
  if (domain === undefined) return "ENOENT";
  const nodes = state.tree.ownedBy(domain.domid);
  return reply(`nodes: ${nodes}\nwatches: ${domain.watches}\ntransactions: ${domain.transactions}\n`);
}

function reply(text: string): Uint8Array {
  return latin1Encode(`${text}\0`);
}
