import type { Ipv4 } from "../addresses.ts";
import { getLong, getWord, putLong, putWord } from "../bytes.ts";

/** Types of records that are looked at (RFC 1035, RFC 3596). */
export const RECORD = { a: 1, aaaa: 28, any: 255 } as const;
/** Response codes (RFC 1035 4.1.1). */
export const RCODE = { ok: 0, format: 1, failure: 2, noName: 3, refused: 5 } as const;

const HEADER = 12;
const CLASS_IN = 1;
const RESPONSE = 0x8000;
const RECURSION = 0x0080;

/** The only question of a query. */
export interface Question {
  /** In lower case, without the dot at its end. */
  readonly name: string;
  readonly type: number;
  readonly classNumber: number;
  /** Where the question ends in the message. */
  readonly end: number;
}

/** Reads the question of a query; `undefined` for a message that is none, or asks for more or less than one thing. */
export function decodeQuestion(message: Uint8Array): Question | undefined {
  if (message.length < HEADER || (getWord(message, 2) & 0xf800) !== 0 || getWord(message, 4) !== 1) return undefined;
  return questionAt(message);
}

function questionAt(message: Uint8Array): Question | undefined {
  const labels: string[] = [];
  let at = HEADER;
  for (;;) {
    const length = message[at];
    if (length === undefined || length > 63 || at - HEADER > 255) return undefined;
    at++;
    if (length === 0) break;
    if (at + length > message.length) return undefined;
    let label = "";
    for (const byte of message.subarray(at, at + length)) label += String.fromCharCode(byte);
    labels.push(label.toLowerCase());
    at += length;
  }
  if (at + 4 > message.length) return undefined;
  return { name: labels.join("."), type: getWord(message, at), classNumber: getWord(message, at + 2), end: at + 4 };
}

/** Whether a question is about addresses on the Internet. */
export function isAddressQuestion({ type, classNumber }: Question): boolean {
  return classNumber === CLASS_IN && (type === RECORD.a || type === RECORD.aaaa || type === RECORD.any);
}

/** Answers a query by ourselves: with addresses, with none, or with a refusal. */
export function encodeAnswer(
  query: Uint8Array,
  end: number,
  rcode: number,
  addresses: readonly Ipv4[] = [],
): Uint8Array {
  const answer = new Uint8Array(end + addresses.length * 16);
  answer.set(query.subarray(0, end));
  putWord(answer, 2, RESPONSE | RECURSION | (getWord(query, 2) & 0x7900) | rcode);
  putWord(answer, 4, end > HEADER ? 1 : 0);
  putWord(answer, 6, addresses.length);
  putLong(answer, 8, 0);
  let at = end;
  for (const address of addresses) {
    putWord(answer, at, 0xc000 | HEADER); // the question's name
    putWord(answer, at + 2, RECORD.a);
    putWord(answer, at + 4, CLASS_IN);
    putLong(answer, at + 6, 0);
    putWord(answer, at + 10, 4);
    putLong(answer, at + 12, address);
    at += 16;
  }
  return answer;
}

/** Answers what can't be understood, with the header alone. */
export function encodeFormatError(query: Uint8Array): Uint8Array | undefined {
  if (query.length < HEADER || (query[2]! & 0x80) !== 0) return undefined;
  return encodeAnswer(query, HEADER, RCODE.format);
}

/** An address in an answer, with the seconds for which it is good. */
export interface AddressRecord {
  readonly address: Ipv4;
  readonly seconds: number;
}

/** Whether a message answers just this question. */
export function answersQuestion(message: Uint8Array, question: Question): boolean {
  if (message.length < HEADER || (message[2]! & 0x80) === 0 || getWord(message, 4) !== 1) return false;
  const answered = questionAt(message);
  return (
    answered !== undefined &&
    answered.name === question.name &&
    answered.type === question.type &&
    answered.classNumber === question.classNumber
  );
}

/** The IPv4 addresses in an answer, whatever names lead to them. What is cut off is left out. */
export function addressRecords(message: Uint8Array, question: Question): readonly AddressRecord[] {
  const records: AddressRecord[] = [];
  let at = question.end;
  for (let left = getWord(message, 6); left > 0; left--) {
    at = skipName(message, at);
    if (at + 10 > message.length) break;
    const length = getWord(message, at + 8);
    const end = at + 10 + length;
    if (end > message.length) break;
    if (getWord(message, at) === RECORD.a && getWord(message, at + 2) === CLASS_IN && length === 4)
      records.push({ address: getLong(message, at + 10), seconds: getLong(message, at + 4) });
    at = end;
  }
  return records;
}

function skipName(message: Uint8Array, from: number): number {
  for (let at = from; at < message.length; ) {
    const length = message[at]!;
    if (length >= 0xc0) return at + 2;
    if (length === 0) return at + 1;
    at += 1 + length;
  }
  return message.length;
}
