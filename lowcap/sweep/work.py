"""What a worker does with a shard: make sure that it is like the others, compute, and make bytes of the rows.

Apart from the engine, since a sweep's numbers follow from this and not from who hands out its shards.
"""

from __future__ import annotations

import io
import os
import socket
import time

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from threadpoolctl import threadpool_limits

from lowcap.errors import BuildError
from lowcap.parallel import on_cores
from lowcap.sweep import origin as origins
from lowcap.sweep.origin import Origin
from lowcap.sweep.plan import Job, Result


def work(job: Job, origin: Origin) -> Result:
    """Compute one shard on one core. Raises BuildError where code, versions or data are not those of the sweep."""
    torch.set_num_threads(1)
    start = time.perf_counter()
    if wrong := origins.differences(origin, origins.here(job.code(), origin)):
        raise BuildError(f"worker {socket.gethostname()} is not like the others: {'; '.join(wrong)}; make it so")
    with threadpool_limits(1), on_cores(1):
        payload, rows = as_parquet(job.rows())
    return Result(payload, rows, time.perf_counter() - start, f"{socket.gethostname()}:{os.getpid()}")


def as_parquet(frame: pd.DataFrame) -> tuple[bytes, int]:
    """A frame as the bytes of a Parquet file, the same for the same rows, and its number of rows."""
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    plain = [pa.field(f.name, pa.string() if pa.types.is_large_string(f.type) else f.type) for f in table.schema]
    sink = io.BytesIO()
    pq.write_table(table.cast(pa.schema(plain)), sink, compression="zstd")
    return sink.getvalue(), len(frame)
