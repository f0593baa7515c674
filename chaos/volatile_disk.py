"""A disk with a volatile cache whose power can be cut: one file, served to the kernel by FUSE's own
protocol, over which a loop device and ext4 are put.

What the kernel writes is there to be read at once, and safe once the kernel flushes the disk. A
cut keeps what was flushed and, of what came after, any sectors and no others: of each write since
the last flush every sector is kept or lost by chance, as a disk may that orders its cache as it
likes. It serves in a process of its own, since the harness waits for this disk now and then.
"""

import ctypes
import errno
import multiprocessing
import os
import random
import select
import signal
import struct

SECTOR = 512
HEADER = struct.Struct("<IIQQIIIHH")
GETATTR, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC, FLUSH, INIT = 3, 14, 15, 16, 17, 18, 20, 25, 26
SILENT = (2, 36, 42)  # FORGET, INTERRUPT, BATCH_FORGET: no answer is expected.
MAX_WRITE = 128 << 10


class Disk:
    """The disk's file, mounted over `path`."""

    def __init__(self, path, size, seed):
        self.path = str(path)
        open(self.path, "w").close()
        self.pipe, theirs = multiprocessing.Pipe()
        fuse = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={fuse},rootmode=100000,user_id=0,group_id=0,max_read={MAX_WRITE}"
        libc = ctypes.CDLL(None, use_errno=True)
        done = libc.mount(b"disk", self.path.encode(), b"fuse", 0, options.encode())
        if done != 0:
            raise OSError(ctypes.get_errno(), "mounting a FUSE file system needs root")
        self.process = multiprocessing.get_context("fork").Process(
            target=_serve, args=(fuse, theirs, size, seed), daemon=True
        )
        self.process.start()
        os.close(fuse)

    def format(self):
        self._ask("flush_all")

    def cut(self):
        """The power goes: from now on nothing that is written counts. Gives the number of writes
        that had not been flushed, and of those the sectors lost."""
        return self._ask("cut")

    def restore(self):
        """The power is back: the disk holds what the cut has left."""
        self._ask("restore")

    def close(self):
        ctypes.CDLL(None).umount2(self.path.encode(), 2)
        self.process.terminate()
        self.process.join()

    def _ask(self, word):
        self.pipe.send(word)
        return self.pipe.recv()


class _State:
    def __init__(self, size, seed):
        self.chance = random.Random(seed)
        self.now = bytearray(size)
        self.safe = bytearray(size)
        self.pending = []
        self.left = None

    def write(self, offset, data):
        self.now[offset : offset + len(data)] = data
        self.pending.append((offset, data))

    def flush(self):
        for offset, data in self.pending:
            self.safe[offset : offset + len(data)] = data
        self.pending.clear()

    def cut(self):
        left, lost = bytearray(self.safe), 0
        # Some cuts lose all of the cache, some nearly nothing, most a part.
        kept = self.chance.choice([0.0, 0.1, 0.5, 0.9])
        for offset, data in self.pending:
            for at in range(0, len(data), SECTOR):
                if self.chance.random() < kept:
                    left[offset + at : offset + at + SECTOR] = data[at : at + SECTOR]
                else:
                    lost += 1
        self.left = left
        return len(self.pending), lost

    def restore(self):
        self.now, self.safe = self.left, bytearray(self.left)
        self.pending.clear()


def _serve(fuse, pipe, size, seed):
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    state = _State(size, seed)
    words = {"cut": state.cut, "restore": state.restore, "flush_all": state.flush}
    while True:
        ready, _, _ = select.select([fuse, pipe], [], [])
        if pipe in ready:
            try:
                pipe.send(words[pipe.recv()]())
            except EOFError:
                return
        if fuse in ready:
            try:
                request = os.read(fuse, MAX_WRITE + 8192)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                    continue
                return  # ENODEV: unmounted.
            _answer(fuse, state, size, request)


def _answer(fuse, state, size, request):
    _, opcode, unique, *_ = HEADER.unpack_from(request)
    if opcode in SILENT:
        return
    body = memoryview(request)[HEADER.size :]
    failure, answer = 0, b""
    if opcode == INIT:
        readahead = struct.unpack_from("<I", body, 8)[0]
        # BIG_WRITES and MAX_PAGES, protocol 7.31; the rest is zero.
        flags = 1 << 5 | 1 << 22
        pages = MAX_WRITE // 4096
        head = struct.pack("<IIIIHHIIHH", 7, 31, readahead, flags, 16, 12, MAX_WRITE, 1, pages, 0)
        answer = head.ljust(64, b"\0")
    elif opcode == GETATTR:
        times = (0, 0, 0)
        attributes = struct.pack("<QQQ3Q3I", 1, size, size // 512, *times, *times)
        attributes += struct.pack("<7I", 0o100600, 1, 0, 0, 0, 4096, 0)
        answer = struct.pack("<QII", 3600, 0, 0) + attributes
    elif opcode == OPEN:
        answer = struct.pack("<QII", 1, 0, 0)
    elif opcode == READ:
        _, offset, length = struct.unpack_from("<QQI", body)
        answer = bytes(state.now[offset : min(offset + length, size)])
    elif opcode == WRITE:
        _, offset, length = struct.unpack_from("<QQI", body)
        state.write(offset, bytes(body[40 : 40 + length]))
        answer = struct.pack("<II", length, 0)
    elif opcode == FSYNC:
        state.flush()
    elif opcode == STATFS:
        answer = bytes(80)
    elif opcode not in (FLUSH, RELEASE):
        failure = -errno.ENOSYS
    try:
        os.write(fuse, struct.pack("<IiQ", 16 + len(answer), failure, unique) + answer)
    except OSError as error:
        if error.errno != errno.ENOENT:  # The request was given up meanwhile.
            raise
