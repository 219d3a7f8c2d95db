"""The part of the package that is C. All else is in pyproject.toml.

Optional: where there is no compiler or no Python.h, numpy does the same work, bit for bit, and takes longer.
"""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "marfl_peer.averaging._kernels",
            ["marfl_peer/averaging/_kernels.c"],
            # Contracted to a multiply-add, a sum would have other bits than at peers that add with numpy.
            extra_compile_args=["-O3", "-ffp-contract=off", "-fno-trapping-math"],
            define_macros=[("Py_LIMITED_API", "0x030b0000")],
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
