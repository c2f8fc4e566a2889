import { type Steps, settled } from "../answer.ts";
import type { BlockFile } from "../block-file.ts";
import { bad, type Qcow2Header, textOf, viewOf } from "./header.ts";

/** An internal snapshot: kept as it is, whatever is written to the disk. */
export interface Qcow2Snapshot {
  /** Its number, as text. */
  readonly id: string;
  /** What it was called. */
  readonly name: string;
  /** Seconds since 1970 when it was taken. */
  readonly taken: number;
  /** Where its L1 table is. */
  readonly l1Offset: number;
  /** How long that is. */
  readonly l1Entries: number;
}

const FIXED = 40;
const MAX_TABLE = 64 << 20;

/** Reads the snapshot table (qcow2.txt, "Snapshots"); answers how long it is too. */
export function* readSnapshots(
  file: BlockFile,
  header: Qcow2Header,
): Steps<{ readonly snapshots: readonly Qcow2Snapshot[]; readonly bytes: number }> {
  const snapshots: Qcow2Snapshot[] = [];
  if (header.snapshotCount === 0) return { snapshots, bytes: 0 };
  const available = Math.max(0, Math.min(MAX_TABLE, file.size - header.snapshotsOffset));
  const table = new Uint8Array(available);
  yield* settled(file.read(header.snapshotsOffset, [table]));
  const view = viewOf(table);
  let at = 0;
  for (let n = 0; n < header.snapshotCount; n++) {
    if (at + FIXED > available) throw bad("its snapshot table is cut off");
    const idLength = view.getUint16(at + 12);
    const nameLength = view.getUint16(at + 14);
    const extra = view.getUint32(at + 36);
    const idAt = at + FIXED + extra;
    const end = idAt + idLength + nameLength;
    if (end > available) throw bad("its snapshot table is cut off");
    snapshots.push({
      id: textOf(table.subarray(idAt, idAt + idLength)),
      name: textOf(table.subarray(idAt + idLength, end)),
      taken: view.getUint32(at + 16),
      l1Offset: Number(view.getBigUint64(at)),
      l1Entries: view.getUint32(at + 8),
    });
    at = Math.ceil(end / 8) * 8;
  }
  return { snapshots, bytes: at };
}
