"""Sample accounts: functions, metrics and logs drawn from a seed, with known waste.

The numbers are invented but plausible. Each function has hidden parameters (how its duration depends on memory, how
much memory it needs, how it runs on arm64). What an analysis sees is sampled from them with noise; what a change truly
saves follows from them alone. Nothing here knows how the analysis works.

Everything is written through public AWS APIs, but only into the embedded AWS: AWS refuses metrics in its own namespaces
and log events older than two weeks.
"""

from lambda_costs.sample_account.account import Planted, SampleAccount, assemble, build
from lambda_costs.sample_account.function import SampleFunction
from lambda_costs.sample_account.seeding import seed_account

__all__ = ["Planted", "SampleAccount", "SampleFunction", "assemble", "build", "seed_account"]
