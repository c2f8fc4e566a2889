/** The names that aren't nodes: who may watch them is set by SET_PERMS. */
export type SpecialName = "@introduceDomain" | "@releaseDomain";

/** The special name that `path` is, if it is one. */
export function specialName(path: string): SpecialName | undefined {
  return path === "@introduceDomain" || path === "@releaseDomain" ? path : undefined;
}
