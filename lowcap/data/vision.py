"""Torchvision, imported so that it also works beside a CPU-only torch.

Torchvision's wheels on the public registry are built for CUDA. Beside a CPU-only torch their compiled operators cannot
load, and the import fails in the one module that describes those operators to the tracer. Nothing here needs the
operators (only data sets and tensor transforms), so that module is left out and the import repeated.
"""

import sys
import types

try:
    import torchvision
except RuntimeError:
    _name = "torchvision._meta_registrations"
    sys.modules[_name] = types.ModuleType(_name)
    import torchvision

__all__ = ["torchvision"]
