/** What went through a virtual interface, from the guest's point of view as `ip -s link` shows it. */
export interface VifStatistics {
  /** Frames that the guest sent, large segments counted once. */
  sentFrames: number;
  /** Their bytes. */
  sentBytes: number;
  /** Frames of the guest that weren't sent: malformed, in pages that it hadn't granted, or the link was down. */
  sendErrors: number;
  /** Frames that the guest got. */
  receivedFrames: number;
  /** Their bytes. */
  receivedBytes: number;
  /** Frames for the guest that were dropped, since it had no room for them or couldn't take them. */
  receiveDrops: number;
}

/** Counters at zero. */
export function createStatistics(): VifStatistics {
  return { sentFrames: 0, sentBytes: 0, sendErrors: 0, receivedFrames: 0, receivedBytes: 0, receiveDrops: 0 };
}
