#!/usr/bin/env python3
"""Checks that NumPy's files are read and that NumPy reads ours: check.py PROGRAM, the program of main.cpp.

Exits with 77, which CTest reports as skipped, if NumPy is not installed.
"""
import io
import pathlib
import subprocess
import sys
import tempfile
import zipfile

try:
    import numpy as np
except ImportError:
    print("skipped: NumPy is not installed")
    sys.exit(77)

TYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"]
SHAPES = [(), (1,), (7,), (0,), (3, 0, 2), (2, 3), (5, 1, 4), (2, 3, 4, 5), (1,) * 8]


def values(dtype, shape, rng):
    """Random numbers of the whole range of a type, special ones included."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype=dtype.newbyteorder("="), endpoint=True).astype(dtype)
    x = np.array(rng.standard_normal(shape) * 100).astype(dtype)
    special = [np.inf, -np.inf, np.nan, -0.0, np.finfo(dtype).max, np.finfo(dtype).tiny]
    if x.size >= len(special):
        x.reshape(-1)[:len(special)] = special
    return x


def save(path, x, version=None):
    with open(path, "wb") as file:
        np.lib.format.write_array(file, x, version=version)


def same(a, b):
    """Whether two arrays have the same type, shape and bits, apart from the order of bytes."""
    native = a.dtype.newbyteorder("=")
    return a.shape == b.shape and native == b.dtype and a.astype(native).tobytes() == b.tobytes()


def main():
    rng = np.random.default_rng(7)
    arrays, archives, wrong = {}, {}, []
    with tempfile.TemporaryDirectory() as folder:
        source, target = pathlib.Path(folder, "from"), pathlib.Path(folder, "to")
        source.mkdir()
        target.mkdir()
        for letters in TYPES:
            for order in "<>":
                for number, shape in enumerate(SHAPES):
                    x = values(order + letters, shape, rng)
                    for layout, array in {"c": x, "f": np.asfortranarray(x), "t": x.T}.items():
                        name = f"{letters}_{'le' if order == '<' else 'be'}_{number}_{layout}.npy"
                        arrays[name] = array
                        save(source / name, array)
        for version in [(1, 0), (2, 0), (3, 0)]:
            name = f"version_{version[0]}.npy"
            arrays[name] = values("f4", (2, 3), rng)
            save(source / name, arrays[name], version)
        archives["all.npz"] = {f"{letters}/{n}": values(letters, shape, rng)
                               for letters in TYPES for n, shape in enumerate(SHAPES)}
        archives["named.npz"] = {"w\u00e9": values("f4", (3, 4), rng), "columns": np.asfortranarray(np.eye(3, 2))}
        archives["none.npz"] = {}
        for name, tensors in archives.items():
            np.savez(source / name, **tensors)
        archives["arguments.npz"] = {"arr_0": np.arange(3), "arr_1": np.ones((2, 2), "f4")}
        np.savez(source / "arguments.npz", *archives["arguments.npz"].values())
        # As written to a pipe: sizes follow the entries. Then with 64-bit fields, which small archives may have too.
        archives["piped.npz"] = {"x": values("f8", (2, 3), rng)}

        class Pipe(io.RawIOBase):
            def __init__(self):
                self.bytes = b""

            def writable(self):
                return True

            def write(self, data):
                self.bytes += bytes(data)
                return len(data)
        pipe = Pipe()
        np.savez(pipe, **archives["piped.npz"])
        (source / "piped.npz").write_bytes(pipe.bytes)
        refused = {"compressed.npz": "np.savez instead of np.savez_compressed", "text.npy": "the type of the array is",
                   "complex.npy": "the type of the array is", "object.npy": "the type of the array is",
                   "structure.npy": "a structure", "not_npy.npz": "is not named like an .npy file"}
        np.savez_compressed(source / "compressed.npz", x=np.zeros(1000))
        save(source / "text.npy", np.array(["a", "bc"]))
        save(source / "complex.npy", np.array([1j]))
        save(source / "object.npy", np.array([None]))
        save(source / "structure.npy", np.zeros(2, [("a", "f4"), ("b", "i2")]))
        with zipfile.ZipFile(source / "not_npy.npz", "w") as archive:
            archive.writestr("readme.txt", "hello")

        subprocess.run([sys.argv[1], str(source), str(target)], check=True)

        for error in target.glob("*.error"):
            expected = refused.pop(error.stem, None)
            text = error.read_text()
            if expected is None or expected not in text or error.stem not in text:
                wrong.append(f"{error.stem}: {text}")
        wrong += [f"{name}: was not refused" for name in refused]
        for name, x in arrays.items():
            path = target / name
            if not path.exists() or not same(x, np.load(path)):
                wrong.append(f"{name}: differs")
        for name, tensors in archives.items():
            if not (target / name).exists():
                wrong.append(f"{name}: was not written")
                continue
            with zipfile.ZipFile(target / name) as archive:
                if archive.testzip() is not None:
                    wrong.append(f"{name}: is damaged")
            with np.load(target / name) as found:
                if sorted(found.files) != sorted(tensors):
                    wrong.append(f"{name}: has {found.files}")
                wrong += [f"{name}: {key} differs" for key in tensors if not same(tensors[key], found[key])]
    print("\n".join(wrong) if wrong else f"{len(arrays)} arrays and {len(archives)} archives are the same")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
