import type { P9Fields, P9MessageName } from "./codec.ts";
import type { Request } from "./connection.ts";
import type { Awaitable } from "./file-system.ts";
import { P9_MESSAGES } from "./messages.ts";
import { attributeOperations } from "./operations-attributes.ts";
import { fileOperations } from "./operations-files.ts";
import { folderOperations } from "./operations-folders.ts";
import { lockOperations } from "./operations-locks.ts";
import { sessionOperations } from "./operations-session.ts";
import { extendedAttributeOperations } from "./operations-xattr.ts";

/** What is done for a message: takes its fields, gives the encoded answer or throws an error with a Linux name. */
export type Operation<Name extends P9MessageName> = (request: Request, fields: P9Fields<Name>) => Awaitable<Uint8Array>;

/** Operations by the names of their messages. */
export type Operations = { readonly [Name in P9MessageName]?: Operation<Name> };

const all: Operations = {
  ...sessionOperations,
  ...fileOperations,
  ...folderOperations,
  ...attributeOperations,
  ...extendedAttributeOperations,
  ...lockOperations,
};

const byName = new Map(Object.entries(all)) as unknown as ReadonlyMap<
  P9MessageName,
  (request: Request, fields: unknown) => Awaitable<Uint8Array>
>;

/** All that a connection carries out; `Tversion` and `Tflush` are its own. */
export const OPERATIONS: {
  readonly byName: typeof byName;
  /** Numbers of the requests that there are. */
  readonly types: readonly number[];
} = {
  byName,
  types: Object.entries(P9_MESSAGES).flatMap(([name, { type }]) => (name.startsWith("T") ? [type] : [])),
};
