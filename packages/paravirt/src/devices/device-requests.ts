import type { ParsedArguments } from "../options.ts";
import type { DeviceRequest } from "./device-request.ts";
import { diskRequests } from "./disks.ts";
import { networkRequests } from "./networks.ts";
import { shareRequests } from "./shares.ts";

/** The devices that the options of a `run` command ask for, in the order of the lines below. */
export function deviceRequests(parsed: Pick<ParsedArguments, "options" | "lists">): readonly DeviceRequest[] {
  return [...diskRequests(parsed), ...networkRequests(parsed), ...shareRequests(parsed)];
}
