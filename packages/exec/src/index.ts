/**
 * Runs commands in a running guest: each with its streams and status, many at once, over one 9P device.
 * @packageDocumentation
 */
export { agentArchive, EXEC_TAG } from "./agent-script.ts";
export { createExec, type Exec, type ExecOptions, type ExecSettings } from "./exec.ts";
export type { CommandInput } from "./input-stream.ts";
export type { CommandOutput, ExecProcess } from "./running-command.ts";
