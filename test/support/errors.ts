import { speakAsCommand } from '../../src/model/voice.js';
import assert from 'node:assert/strict';
import { ImgconvError, type ErrorCode } from '../../src/index.js';

// Tests hold hints as the command line has them; voice.test.ts holds those of the library.
speakAsCommand();

/** For `assert.throws` and `assert.rejects`: an error of imgconv's with this code, whose message has all of `words`. */
export function refusal(code: ErrorCode, ...words: readonly string[]): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof ImgconvError, `not an ImgconvError: ${String(error)}`);
    assert.equal(error.code, code, error.message);
    for (const word of words)
      assert.ok(error.message.includes(word), `no ${JSON.stringify(word)} in: ${error.message}`);
    return true;
  };
}
