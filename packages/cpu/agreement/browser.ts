// The runner as a script for a page: the global function `paravirtAgreement(options)` answers a report.
import { runAgreement } from "./runner.ts";

Object.assign(globalThis, { paravirtAgreement: runAgreement });
