#!/usr/bin/env python3
"""Checks training by several ranks: `ranks.py PROGRAM SCRATCH MPIRUN [KILLS] [SEED]`.

Any number of ranks must give the parameters, the moments, the best model and the losses of one process, bit for bit.
KILLS times (by default 3), a random rank is killed at a random moment. The run must then stop at once, name the rank,
and continue with another number of ranks. Exit code 77: mpirun cannot start processes here.
"""
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

program, scratch, mpirun = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
kills = int(sys.argv[4]) if len(sys.argv) > 4 else 3
seed = int(sys.argv[5]) if len(sys.argv) > 5 else random.randrange(1 << 30)
print("seed", seed, flush=True)
draw = random.Random(seed)
os.environ.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_rmaps_base_oversubscribe="1",
                  PRTE_MCA_rmaps_default_mapping_policy=":oversubscribe",
                  OMPI_MCA_btl_vader_single_copy_mechanism="none", OMPI_MCA_hwloc_base_binding_policy="none")
UPDATES = 24
shutil.rmtree(scratch, ignore_errors=True)
scratch.mkdir(parents=True)


def pairs(letter):
    return "".join(f"{'a ' * (i % 7 + 1)}{letter}{i % 5}\t{'c ' * (i % 6 + 1)}d{i % 5}\n" for i in range(240))


(scratch / "pairs.tsv").write_text(pairs("b"))
(scratch / "links.txt").write_text("".join(f"0-0 {i % 7}-{i % 6}\n" for i in range(240)))
OPTIONS = ["--pairs", "pairs.tsv", "--tokens", "words", "--layers", "1", "--width", "32", "--dropout", "0.2",
           "--batch-tokens", "64", "--updates", str(UPDATES), "--checkpoint-every", "3", "--keep", "3", "--log",
           "log.csv", "--threads", "1"]
# A buffer of 40 pairs ends in the middle of updates. Pairs have links, which ranks must exchange too.
STREAMED = ["--max-length", "20", "--shuffle-buffer", "40", "--alignments", "links.txt", "--ema", "0.9"]
FROZEN = ["--freeze", "encoder.*", "--freeze", "target_embedding.weight", "--freeze", "*.norm1.*"]


def command(ranks, out, *options):
    train = [program, "train", "--out", out, *options]
    return train if ranks == 1 else [mpirun, "-np", str(ranks), *train]


def run(arguments, expected_code=0, folder=scratch):
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, timeout=300)
    if (done.returncode != 0) != (expected_code != 0):
        sys.exit(f"seed {seed}: {arguments}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def check(condition, what):
    if not condition:
        sys.exit(f"seed {seed}: {what}")


def outcome(out):
    last = max((scratch / out / "checkpoints").glob(f"update-{UPDATES:09d}*"))
    losses = [line.split(",")[:5] for line in (scratch / "log.csv").read_text().splitlines() if line.endswith(",,")]
    return [(last / name).read_bytes() for name in ("model.safetensors", "optimizer.safetensors")] + \
           [(scratch / out / "model.safetensors").read_bytes(), losses]


def check_equal(given, expected, what):
    for part, a, b in zip(("parameters", "moments", "best model", "losses"), given, expected):
        check(a == b, f"{what}: the {part} differ from those of one process")


if subprocess.run([mpirun, "-np", "2", "true"], cwd=scratch, capture_output=True).returncode != 0:
    print("mpirun cannot start two processes here")
    sys.exit(77)

# Each number of ranks, with batches that fill the tree and with others.
for name, options, settings in (("plain", [], ((2, 1), (4, 1), (8, 1), (2, 3), (3, 1))),
                                ("streamed", STREAMED, ((2, 2), (3, 2))),
                                ("frozen", FROZEN, ((2, 1), (3, 2))),
                                ("frozen with muon", [*FROZEN, "--optimizer", "muon", "--ema", "0.9"], ((2, 2),))):
    for ranks, each in settings:
        run(command(1, "one", *OPTIONS, *options, "--accumulate", str(ranks * each)))
        expected = outcome("one")
        printed = run(command(ranks, "many", *OPTIONS, *options, "--accumulate", str(each)))
        check_equal(outcome("many"), expected, f"{name}: {ranks} ranks with {each} batches each")
        check(printed.count(" training pairs, ") == 1 and f"{ranks} ranks: rank 0 spent" in printed, printed)
        print(f"{name}: {ranks} ranks with {each} batches each equal one process", flush=True)


# Each rank encodes some blocks of each buffer. Together they count the pairs that are too long, each once.
(scratch / "long.tsv").write_text(("a b\tc\n" * 7 + "a b c d e\tc\n") * 80)
for epochs in ("1", "2"):
    printed = run(command(2, "many", "--pairs", "long.tsv", "--valid-pairs", "pairs.tsv", "--tokens", "words", "--layers",
                          "1", "--width", "16", "--max-length", "4", "--shuffle-buffer", "64", "--epochs", epochs,
                          "--threads", "1"))
    counts = [line for line in printed.splitlines() if "4 tokens (--max-length)" in line]
    check("read so far" in counts[0] and ": 80 of training, " in counts[-1], printed)


def pid_of(rank, parent):
    """Returns the process id of a rank below mpirun; None if it has not begun or has ended."""
    names = (f"OMPI_COMM_WORLD_RANK={rank}".encode(), f"PMI_RANK={rank}".encode())  # of Open MPI, of MPICH
    try:
        environment = pathlib.Path(f"/proc/{parent}/environ").read_bytes().split(b"\0")
        children = pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    except OSError:
        return None
    if any(name in environment for name in names):
        return int(parent)
    return next((pid for pid in (pid_of(rank, child) for child in children) if pid is not None), None)


# Four batches per update, on 2 to 5 ranks, so also on more ranks than batches.
run(command(1, "one", *OPTIONS, "--accumulate", "4"))
expected = outcome("one")
begin = time.time()
run(command(4, "killed", *OPTIONS))
seconds = time.time() - begin
shutil.rmtree(scratch / "killed")
done, slowest = 0, 0
for attempt in range(20 * kills):
    if done == kills:
        break
    ranks = draw.choice((2, 3, 4, 5))
    resumed = ["--accumulate", str(4 // ranks)] if ranks in (2, 4) else []
    if not list((scratch / "killed").glob("checkpoints/update-*")):  # the first run decides on four batches
        ranks, resumed = 4, []
    last = list((scratch / "killed").glob(f"checkpoints/update-{UPDATES:09d}*"))
    if last:  # over: begin again
        check_equal(outcome("killed"), expected, f"after {done} kills")
        shutil.rmtree(scratch / "killed")
        continue
    with open(scratch / "output", "w+") as output:
        process = subprocess.Popen(command(ranks, "killed", "--resume", *OPTIONS, *resumed), cwd=scratch, stdout=output,
                                   stderr=subprocess.STDOUT)
        time.sleep(draw.uniform(0.3, seconds))
        victim = draw.randrange(ranks)
        pid = pid_of(victim, process.pid) if process.poll() is None else None
        killed_at = time.time()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        code = process.wait(timeout=60)
        output.seek(0)
        printed = output.read()
    if pid is None or code == 0:
        check(code == 0, f"{ranks} ranks: {printed}")
        continue
    slowest = max(slowest, time.time() - killed_at)
    check(slowest < 10, f"the run stopped {slowest:.1f} seconds after rank {victim} was killed")
    named = f"rank {victim} " in printed or "BAD TERMINATION" in printed  # Open MPI names the rank; MPICH only says this
    check(named, f"rank {victim} of {ranks} was killed, but the message is {printed}")
    done += 1
check(done == kills, f"only {done} kills in time")
for ranks in (3, 1):
    begins = not list((scratch / "killed").glob("checkpoints/update-*"))  # the last kill came before a checkpoint
    run(command(4 if begins else ranks, "killed", "--resume", *OPTIONS))
check_equal(outcome("killed"), expected, f"after {done} kills")
print(f"killed {done} times; the run stopped within {slowest:.1f} seconds", flush=True)

# Another number of batches is an error. So are other data on another rank; the message names the rank.
printed = run(command(4, "killed", "--resume", *OPTIONS, "--accumulate", "2"), 1)
check("--accumulate: gives 8 batches per update on all ranks together, but the run in killed has 4" in printed, printed)
(scratch / "elsewhere").mkdir()
(scratch / "elsewhere" / "pairs.tsv").write_text(pairs("e"))
train = [program, "train", "--out", "other", *OPTIONS]
printed = run([mpirun, "-np", "1", *train, ":", "-np", "1", "-wdir", str(scratch / "elsewhere"), *train], 1)
check("rank 1: the corpus, the validation pairs or the model of --init are not those of rank 0" in printed, printed)
printed = run(command(2, "other", "--pairs", "nothing.tsv"), 1)
check("translate: rank " in printed and "nothing.tsv" in printed, printed)
printed = run(command(2, "other", "--width", "many"), 1)
check(printed.count("translate: ") == 1, printed)
