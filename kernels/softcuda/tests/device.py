"""The driver API through ctypes: just what the tests need to launch a kernel and read what the device says of it."""

import array
import ctypes
import json
import os
import pathlib
import struct

HOME = pathlib.Path(os.environ["SOFTCUDA_HOME"])
READ, WRITE = "const", "mut"


class CudaError(Exception):
    def __init__(self, call, code):
        super().__init__(f"{call} answered {code}")
        self.code = code


class Buffer:
    """Device memory of `count` elements of array type `kind`."""

    def __init__(self, device, kind, count):
        self.device, self.kind, self.count = device, kind, count
        self.bytes = count * array.array(kind).itemsize
        self.at = ctypes.c_uint64()
        device.call("cuMemAllocAsync", ctypes.byref(self.at), ctypes.c_size_t(self.bytes), device.stream)

    def read(self, count=None):
        out = array.array(self.kind, bytes(array.array(self.kind).itemsize * (count or self.count)))
        self.device.call("cuMemcpyDtoHAsync_v2", ctypes.c_void_p(out.buffer_info()[0]), self.at, ctypes.c_size_t(len(out) * out.itemsize), self.device.stream)
        return list(out)

    def free(self, stream=None):
        self.device.call("cuMemFreeAsync", self.at, self.device.stream if stream is None else stream)


class Device:
    def __init__(self):
        self.library = ctypes.CDLL(str(HOME / "lib/libcuda.so.1"), mode=ctypes.RTLD_GLOBAL)
        self.library.softcuda_report.restype = ctypes.c_void_p
        self.stream = ctypes.c_void_p(0)
        context = ctypes.c_void_p()
        self.call("cuInit", 0)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), 0)
        self.stream = self.new_stream()

    def call(self, name, *values):
        code = getattr(self.library, name)(*values)
        if code:
            raise CudaError(name, code)

    def new_stream(self):
        stream = ctypes.c_void_p()
        self.call("cuStreamCreate", ctypes.byref(stream), 1)
        return stream

    def upload(self, kind, values, stream=None):
        data = array.array(kind, values)
        buffer = Buffer(self, kind, len(data))
        self.call("cuMemcpyHtoDAsync_v2", buffer.at, ctypes.c_void_p(data.buffer_info()[0]), ctypes.c_size_t(buffer.bytes), stream or self.stream)
        return buffer

    def empty(self, kind, count):
        return Buffer(self, kind, count)

    def zeros(self, kind, count):
        buffer = Buffer(self, kind, count)
        self.call("cuMemsetD8Async", buffer.at, 0, ctypes.c_size_t(buffer.bytes), self.stream)
        return buffer

    def module(self, source, *options):
        text = "\n".join(["// softcuda-module 1", f"// source {source}", *(f"// option {o}" for o in options), ""])
        handle = ctypes.c_void_p()
        self.call("cuModuleLoadData", ctypes.byref(handle), text.encode())
        return handle

    def launch(self, module, name, grid, block, arguments, shared=0, stream=None):
        function = ctypes.c_void_p()
        self.call("cuModuleGetFunction", ctypes.byref(function), module, name.encode())
        held = [ctypes.c_uint64(a.at.value) if isinstance(a, Buffer) else a for a in arguments]
        pointers = (ctypes.c_void_p * len(held))(*(ctypes.cast(ctypes.byref(h), ctypes.c_void_p) for h in held))
        full = lambda size: tuple(size) + (1,) * (3 - len(size))
        self.call("cuLaunchKernel", function, *full(grid), *full(block), shared, stream or self.stream, pointers, None)

    def wait(self):
        self.call("cuCtxSynchronize")

    def report(self):
        return json.loads(ctypes.string_at(self.library.softcuda_report()))

    def findings(self):
        return self.report()["findings"]


def i32(value):
    return ctypes.c_int32(value)


def u64(value):
    return ctypes.c_uint64(value)


def bf16(values):
    """Bits of values that bfloat16 holds, others cut."""
    return [struct.unpack("<I", struct.pack("<f", v))[0] >> 16 for v in values]


class Shape(ctypes.Structure):
    """As ../../cu/attention.cuh has it."""

    _fields_ = [
        *((f"{of}_{axis}", ctypes.c_longlong) for of in "qkv" for axis in ("batch", "head", "token")),
        *((f"bias_{axis}", ctypes.c_longlong) for axis in ("batch", "head", "query", "key")),
        *((name, ctypes.c_int) for name in "heads kv_heads pack queries keys d offset tiles grid_rows grid_columns".split()),
        ("scale", ctypes.c_float), ("aligned", ctypes.c_int)]


def attention_shape(*, heads=1, kv_heads=1, pack=1, queries, keys=0, d, tall, offset=1 << 30, grid=(0, 0), row=None, tiles=None, cached=False, **more):
    """Of one batch element whose tokens lie one after the other, with all their heads; `row` elements from one to the next.
    `cached`: keys and values of a head lie together."""
    key = row or (d if cached else kv_heads * d)
    return Shape(
        q_head=d, q_token=row or heads * d, k_head=d, k_token=key, v_head=d, v_token=key, heads=heads,
        kv_heads=kv_heads, pack=pack, queries=queries, keys=keys, d=d, offset=offset, tiles=tiles or -(-queries * pack // tall),
        grid_rows=grid[0], grid_columns=grid[1], scale=d ** -0.5, aligned=1, **more)


class Sequences(ctypes.Structure):
    """As ../../cu/attention.cuh has it."""

    _fields_ = [*((name, ctypes.c_uint64 * 64) for name in "kv"), *((name, ctypes.c_int * 64) for name in "first queries keys room".split())]


def sequences(keys, values, new, cached, room):
    """Caches with `cached` tokens and room for `room`, and as many new tokens as `new` says."""
    all = Sequences()
    for i, count in enumerate(new):
        all.k[i], all.v[i] = keys[i].at.value, values[i].at.value
        all.first[i], all.queries[i], all.keys[i], all.room[i] = sum(new[:i]), count, cached[i] + count, room[i]
    return all
