"""The benchmarks: `./run bench` measures every goal of goals.toml and writes results.json.

Each module of ``PARTS`` measures some goals and returns Samples; :mod:`bench.results` judges them.
"""
