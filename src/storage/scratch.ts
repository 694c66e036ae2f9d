import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Staging } from './staging.js';

/** A folder for what has to be unpacked where nothing is written to, made when it is needed. */
export class Scratch {
  #folder: string | undefined;
  #staging: Staging | undefined;

  staging(): Staging {
    this.#folder ??= mkdtempSync(join(tmpdir(), 'imgconv-'));
    return (this.#staging ??= new Staging(this.#folder));
  }

  /** A folder in it. */
  folder(name: string): string {
    return join(this.staging().root, name);
  }

  close(): void {
    this.#staging?.[Symbol.dispose]();
    if (this.#folder !== undefined) rmSync(this.#folder, { recursive: true, force: true });
  }
}
