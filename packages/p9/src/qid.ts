import { FILE_TYPE, QID_TYPE } from "./flags.ts";

/** What a qid says of a file with that mode. */
export function qidTypeOf(mode: number): number {
  const type = mode & FILE_TYPE.mask;
  if (type === FILE_TYPE.directory) return QID_TYPE.directory;
  return type === FILE_TYPE.symlink ? QID_TYPE.symlink : QID_TYPE.file;
}
