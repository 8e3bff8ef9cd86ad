// The checks of pythons.py in Pyodide: a CPython that comes as an npm package, newer than most machines'.
// NumPy and filelock, which reading a command line imports and does not use, are stand-ins there.
//
//     node pyodide.mjs CHECKOUT    (beside a node_modules/ with pyodide)
import { loadPyodide } from "pyodide";

const python = await loadPyodide();
python.FS.mkdir("/checkout");
python.FS.mount(python.FS.filesystems.NODEFS, { root: process.argv[2] }, "/checkout");
const checks = `
import importlib.abc
import importlib.machinery
import pathlib
import sys
import types


class StandIn(types.ModuleType):
    __path__ = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return StandIn(name)

    def __call__(self, *_, **__):
        return StandIn("value")

    __getitem__ = __or__ = __ror__ = __call__

    def __mro_entries__(self, bases):
        return ()


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in pythons.PACKAGES:
            return importlib.machinery.ModuleSpec(name, self)

    def create_module(self, spec):
        return StandIn(spec.name)

    def exec_module(self, module):
        pass


class NoProcesses:
    """compileall, where there are no processes and nothing is to be written."""

    @staticmethod
    def compile_dir(folder, quiet=0):
        for path in pathlib.Path(folder).rglob("*.py"):
            compile(path.read_text(encoding="utf-8"), str(path), "exec")
        return True


sys.dont_write_bytecode = True
sys.path[:0] = ["/checkout/tests", "/checkout"]
import pythons

sys.meta_path.insert(0, Finder())
pythons.SCRIPTS, pythons.compileall = (), NoProcesses
pythons.check_here()
print("Python", sys.version.split()[0])
`;
try {
  await python.runPythonAsync(checks);
} catch (error) {  // left alone, node prints Pyodide's own source: a line of megabytes
  console.error(error.message);
  process.exitCode = 1;
}
