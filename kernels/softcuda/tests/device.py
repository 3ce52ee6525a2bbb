"""The driver API through ctypes: just what the tests need to launch a kernel and read what the device says of it."""

import array
import ctypes
import json
import os
import pathlib

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
