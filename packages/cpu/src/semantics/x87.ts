import type { Definition } from "../definition.ts";
import { x87ComputeDefinitions } from "./x87-compute.ts";
import { x87ControlDefinitions } from "./x87-control.ts";
import { x87MoveDefinitions } from "./x87-moves.ts";
import { x87ServiceDefinitions } from "./x87-services.ts";

/** The x87 floating-point unit. All of it is translated, helpers included, but for what JavaScript executes. */
export const x87Definitions: readonly Definition[] = [
  ...[...x87MoveDefinitions, ...x87ComputeDefinitions, ...x87ControlDefinitions].map((definition) => ({
    ...definition,
    translated: true,
    x87: true,
  })),
  ...x87ServiceDefinitions,
];
