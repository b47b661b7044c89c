#!/usr/bin/env python3
"""Kills `translate train` at random moments, also while it saves, and resumes it: `resume.py PROGRAM SCRATCH [SEED]`.

A run that was killed and resumed must end with the parameters, the moments and the best model of a run that was never
interrupted, bit for bit and with any number of threads.
"""
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time
import zlib

signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background, programs would inherit an ignored SIGINT
program, scratch = sys.argv[1], pathlib.Path(sys.argv[2])
seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.randrange(1 << 30)
print("seed", seed, flush=True)
draw = random.Random(seed)
UPDATES = 24
shutil.rmtree(scratch, ignore_errors=True)
scratch.mkdir(parents=True)
(scratch / "pairs.tsv").write_text(
    "".join(f"{'a ' * (i % 7 + 1)}b{i % 5}\t{'c ' * (i % 6 + 1)}d{i % 5}\n" for i in range(120)))
(scratch / "links.txt").write_text("".join(f"0-0 {i % 7}-{i % 6}\n" for i in range(120)))
OPTIONS = ["--pairs", "pairs.tsv", "--tokens", "words", "--layers", "1", "--dropout", "0.2", "--batch-tokens", "64",
           "--updates", str(UPDATES), "--checkpoint-every", "3", "--keep", "3"]
MODELS = {"transformer": ["--width", "32"],
          "recurrent": ["--model", "recurrent", "--width", "16", "--optimizer", "adamw", "--validate-every", "2",
                        "--average", "2", "--average-of", "best", "--patience", "30", "--alignments", "links.txt"],
          "muon": ["--width", "32", "--optimizer", "muon", "--ema", "0.9", "--accumulate", "2", "--freeze",
                   "source_embedding*", "--schedule", "cosine", "--warmup", "5"],
          "streamed": ["--width", "32", "--max-length", "20", "--alignments", "links.txt", "--precision", "bfloat16",
                       "--shuffle-buffer", "40"]}


def command(out, threads, *options):
    return [program, "train", "--out", out, "--threads", str(threads), *options]


def run(arguments, expected_code=0):
    done = subprocess.run(arguments, cwd=scratch, capture_output=True, text=True, timeout=120)
    if done.returncode != expected_code:
        sys.exit(f"{arguments}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def outcome(out):
    last = max((scratch / out / "checkpoints").glob(f"update-{UPDATES:09d}*"))
    return [(last / name).read_bytes() for name in ("model.safetensors", "optimizer.safetensors")] + \
           [(scratch / out / "model.safetensors").read_bytes()]


def state(out, update):
    """The state in the newest checkpoint of an update."""
    newest = max((scratch / out / "checkpoints").glob(f"update-{update:09d}*"))
    return json.loads((newest / "state.json").read_text())["state"]


def progress(out):
    """The state of validation and early stopping after the last update."""
    last = state(out, UPDATES)
    return [last[name] for name in ("best", "lowest_perplexity", "stopping", "best_models")]


def average(printed):
    return [line.partition("  best so far")[0] for line in printed.splitlines() if line.startswith("average of")]


def check(condition, what):
    if not condition:
        sys.exit(f"seed {seed}: {what}")


def kill(process, how, seconds, saves):
    """Kills the program after so many seconds, or while it saves for the n-th time. Returns whether it still ran."""
    folder = scratch / process.args[3] / "checkpoints"
    begin, seen = time.time(), set()
    while process.poll() is None:
        if saves == 0 and time.time() - begin > seconds:
            break
        if saves > 0 and folder.exists():
            seen.update(entry.name for entry in folder.iterdir() if entry.name.startswith(".unfinished"))
            if len(seen) >= saves:
                time.sleep(draw.uniform(0, 0.02))
                break
    running = process.poll() is None
    process.send_signal(how)
    process.communicate()
    return running


for name, model in MODELS.items():
    begin = time.time()
    expected_average = average(run(command(name, 1, *OPTIONS, *model)))
    seconds = time.time() - begin
    expected = outcome(name)
    for threads in (1, 2):
        out = f"{name}-{threads}"
        kills = 0
        for attempt in range(6):
            process = subprocess.Popen(command(out, draw.choice((1, 2)), "--resume", *OPTIONS, *model), cwd=scratch,
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            saves = draw.choice((0, 1, 2, 3))
            kills += kill(process, signal.SIGKILL, draw.uniform(0, seconds), saves)
        printed = run(command(out, threads, "--resume", *OPTIONS, *model))
        check(outcome(out) == expected, f"{out}: the parameters differ after {kills} kills")
        check(progress(out) == progress(name), f"{out}: {progress(out)}, expected {progress(name)}")
        check(average(printed) == expected_average, f"{out}: {printed}, expected {expected_average}")
        print(out, "killed", kills, "times", flush=True)

# Any update is replayed exactly: from the checkpoint before it, or from the beginning.
for name in MODELS:
    for update in (UPDATES - 6, UPDATES - 3, UPDATES):
        recorded = state(name, update)["parameters"]
        printed = run([program, "replay", "--model", name, "--update", str(update), "--pair", "2", "--threads",
                       str(draw.choice((1, 2)))])
        check(f"parameters after it: {recorded}\n" in printed, f"{name}: {printed}")
        start = 0 if update == UPDATES - 6 else update - 3
        check(f"from the state after update {start}\n" in printed and "\npair 2\n" in printed, printed)
        check(any(shade in printed for shade in "█▓▒░"), printed)
# Twenty more updates. A run with a checkpoint after each update records the expected parameters.
replayed = 0
for name, model in MODELS.items():
    every = [{"--checkpoint-every": "1", "--keep": "100"}.get(before, option)
             for before, option in zip([""] + OPTIONS, OPTIONS)]
    run(command("recorded", 1, *every, *model))
    check(state("recorded", UPDATES)["parameters"] == state(name, UPDATES)["parameters"], f"{name}: recorded")
    for update in draw.sample(range(1, UPDATES), 7 if replayed < 14 else 6):
        printed = run([program, "replay", "--model", name, "--update", str(update), "--threads", str(draw.choice((1, 2)))])
        check(f"parameters after it: {state('recorded', update)['parameters']}\n" in printed,
              f"{name}, update {update}: {printed}")
        replayed += 1
print("replayed", replayed, "updates", flush=True)
run([program, "replay", "--model", "transformer", "--update", "3", "--pair", "100000"], 1)
for limit in (["--epochs", "2"], ["--updates", "5"]):
    run(command("over", 1, *OPTIONS[:8], *MODELS["transformer"], *limit))
    [done] = [int(entry.name[len("update-"):].split(".")[0]) for entry in (scratch / "over" / "checkpoints").iterdir()]
    run([program, "replay", "--model", "over", "--update", str(done)])
    printed = run([program, "replay", "--model", "over", "--update", str(done + 1)], 1)
    check(f"--update is {done + 1}, but the run in over has {done} updates" in printed, printed)
run([program, "replay", "--model", str(scratch / "nothing"), "--update", "3"], 1)

# A streamed corpus comes in another order, and each update has pairs of one buffer.
run(command("unstreamed", 1, *OPTIONS, *MODELS["streamed"][:-2]))
check(outcome("streamed") != outcome("unstreamed"), "--shuffle-buffer changed nothing")

# The log of a run that was resumed has each update once.
options = command("logged", 1, *OPTIONS, *MODELS["transformer"], "--log", "log.csv")
process = subprocess.Popen(options, cwd=scratch, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
kill(process, signal.SIGKILL, 0, 3)
run(options + ["--resume"])
lines = (scratch / "log.csv").read_text().splitlines()
updates = [int(line.split(",")[0]) for line in lines[1:] if line.endswith(",,")]
check(lines[0].startswith("update,loss") and updates == list(range(1, UPDATES + 1)), f"--log has the updates {updates}")

# The log has each validation once, even if the run is killed after logging it and before saving the checkpoint. --plot
# is a pipe that nobody reads, so the run waits there.
os.mkfifo(scratch / "plot")
options = command("validated", 1, *OPTIONS, *MODELS["transformer"], "--validate-every", "1000", "--average", "2", "--log",
                  "validated.csv")


def validations():
    path = scratch / "validated.csv"
    lines = path.read_text().splitlines()[1:] if path.exists() else []
    return [int(line.split(",")[0]) for line in lines if not line.endswith(",,")]


process = subprocess.Popen(options + ["--plot", "plot"], cwd=scratch, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
while process.poll() is None and not validations():
    time.sleep(0.01)
kill(process, signal.SIGKILL, 0, 0)
check(validations() == [UPDATES], f"--log has the validations {validations()}")
for attempt in range(2):  # the second time, only the average is validated again
    run(options + ["--resume", "--plot", "plot.svg"])
    check(validations() == [UPDATES, 0], f"--log has the validations {validations()}, attempt {attempt}")

# SIGTERM saves and ends the program. Afterwards --resume needs no other option.
process = subprocess.Popen(command("stopped", 2, *OPTIONS, *MODELS["transformer"]), cwd=scratch,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
if kill(process, signal.SIGTERM, 0, 1):
    check(process.returncode == 0, f"SIGTERM gave exit code {process.returncode}")
checkpoints = scratch / "stopped" / "checkpoints"
check(len(list(checkpoints.iterdir())) > 0, "SIGTERM left no checkpoint")

# So does SIGHUP. A signal that the program was started to ignore stays ignored.
process = subprocess.Popen(command("hung", 2, *OPTIONS, *MODELS["transformer"]), cwd=scratch,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
if kill(process, signal.SIGHUP, 0, 1):
    check(process.returncode == 0, f"SIGHUP gave exit code {process.returncode}")
run(command("hung", 2, "--resume"))
check(outcome("hung")[:2] == outcome("transformer")[:2], "hung: the parameters differ")
process = subprocess.Popen(command("ignoring", 2, *OPTIONS, *MODELS["transformer"]), cwd=scratch,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
time.sleep(0.2)
process.send_signal(signal.SIGINT)
printed = process.communicate()[0]
check(process.returncode == 0 and outcome("ignoring") == outcome("transformer"), f"ignoring: {printed}")

# Before the first update, a signal ends the program. The run that was in the folder stays.
os.mkfifo(scratch / "fifo")  # nobody writes into it
process = subprocess.Popen([program, "train", "--out", "ignoring", "--pairs", "fifo", "--updates", "1"], cwd=scratch,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
time.sleep(0.3)
process.send_signal(signal.SIGINT)
check(process.wait(timeout=60) == -signal.SIGINT, f"reading: Ctrl-C gave exit code {process.returncode}")
check(outcome("ignoring") == outcome("transformer"), "reading: Ctrl-C changed the folder")

# Nor does it leave a new folder behind, unless there is something in it.
for how, name in ((signal.SIGINT, "new"), (signal.SIGTERM, "new"), (signal.SIGHUP, "used")):
    process = subprocess.Popen([program, "train", "--out", name, "--pairs", "fifo", "--updates", "1"], cwd=scratch,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while process.poll() is None and not (scratch / name).exists():
        time.sleep(0.01)
    time.sleep(0.3)
    if name == "used":
        (scratch / name / "notes").write_text("of somebody else")
    process.send_signal(how)
    check(process.wait(timeout=60) == -how, f"{name}: the signal gave exit code {process.returncode}")
    check((scratch / name).exists() == (name == "used"), f"{name}: a signal left an empty folder")

# Only one run at a time writes into a folder. A killed run does not keep others out.
process = subprocess.Popen([program, "train", "--out", "locked", "--pairs", "fifo", "--updates", "1"], cwd=scratch,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
while process.poll() is None:  # until the run reads its pairs, and so holds the lock
    try:
        pairs = os.open(scratch / "fifo", os.O_WRONLY | os.O_NONBLOCK)  # open until the end, so that the run waits
        break
    except OSError:
        time.sleep(0.01)
unfinished = scratch / "locked" / ".unfinished-files-1.tmp"
unfinished.mkdir(parents=True, exist_ok=True)
printed = run(command("locked", 1, *OPTIONS, *MODELS["transformer"]), 1)
check("locked: a program is already writing into this folder" in printed and unfinished.exists(), printed)
kill(process, signal.SIGKILL, 0, 0)
run(command("locked", 1, *OPTIONS, *MODELS["transformer"]))
check(outcome("locked") == outcome("transformer") and not unfinished.exists(), "locked: the outcome differs")

# If its output pipe closes, for example because Ctrl-C also ended a `tee`, the program saves before it ends.
often = [{"--checkpoint-every": "0", "--updates": "100000"}.get(before, option)
         for before, option in zip([""] + OPTIONS, OPTIONS)]
process = subprocess.Popen(command("piped", 1, *often, *MODELS["transformer"], "--validate-every", "1"), cwd=scratch,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
for line in process.stdout:
    if "validation:" in line:
        break
process.stdout.close()
printed = process.stderr.read()
check(process.wait(timeout=60) == 1 and "standard output: cannot be written: nobody reads it" in printed, printed)
check(len(list((scratch / "piped" / "checkpoints").iterdir())) == 1, "piped: there is no checkpoint")

# Ctrl-C ends subcommands that have nothing to save, also while they wait for input. Scripts see that they failed.
with subprocess.Popen([program, "run", "--model", "transformer"], cwd=scratch, stdin=subprocess.PIPE,
                      stdout=subprocess.PIPE, text=True) as process:
    process.stdin.write("a b1\n")
    process.stdin.flush()
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    check(process.wait(timeout=60) == -signal.SIGINT, f"run: Ctrl-C gave exit code {process.returncode}")

for name, options in {"compare": ["--epochs", "1000"], "demo": ["--svg", "demo.svg"]}.items():
    with subprocess.Popen([program, name, *options], cwd=scratch, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        check(process.wait(timeout=60) == -signal.SIGINT, f"{name}: Ctrl-C gave exit code {process.returncode}")

# The validation of a stopped run changes nothing for the updates, the best models and the early stopping after it.
patient = MODELS["recurrent"]
process = subprocess.Popen(command("paused", 2, *OPTIONS, *patient), cwd=scratch, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT)
kill(process, signal.SIGTERM, 0, 2)
run(command("paused", 1, "--resume"))
check(outcome("paused")[:2] == outcome("recurrent")[:2], "paused: the parameters differ")
check(progress("paused") == progress("recurrent"), f"paused: {progress('paused')}")
saved = state("paused", UPDATES)["saved"]
check(saved["bleu"] >= state("recurrent", UPDATES)["best"]["bleu"], f"paused: {saved}")

def changed(values):
    """The options of a run with other values."""
    return [values.get(before, option) for before, option in zip([""] + OPTIONS, OPTIONS)]


def plotting(out, *options):
    """Starts a run that waits at its first validation, because --plot is a pipe that nobody reads."""
    started = subprocess.Popen(command(out, 1, *options, "--plot", "plot"), cwd=scratch, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    until_validation(started)
    return started


def until_validation(process):
    """Reads what a run prints, up to its next validation. Returns that line."""
    for line in process.stdout:
        if line.startswith("validation:"):
            return line
    sys.exit(f"seed {seed}: {process.args}: did not validate")


# An interrupted run averages the checkpoints of an uninterrupted one, also if it is interrupted several times.
averaging = [*changed({"--checkpoint-every": "8"}), *MODELS["transformer"], "--validate-every", "10", "--average", "3"]
begin = time.time()
expected_average = average(run(command("averaged", 1, *averaging)))
seconds = time.time() - begin
process = plotting("interrupted", *averaging)
process.send_signal(signal.SIGINT)
reader = os.open(scratch / "plot", os.O_RDWR)  # so that the run does not wait any more
process.communicate()
os.close(reader)
check("plot" in state("interrupted", 11)["arguments"], "interrupted: is not at update 11")
for attempt in range(3):
    process = subprocess.Popen(command("interrupted", 1, "--resume", "--plot", "plot.svg"), cwd=scratch,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    kill(process, signal.SIGINT, draw.uniform(0, seconds), 0)
printed = run(command("interrupted", 1, "--resume", "--plot", "plot.svg"))
names = sorted(entry.name.partition(".")[0] for entry in (scratch / "interrupted" / "checkpoints").iterdir())
check(names == [f"update-{update:09d}" for update in (8, 16, 24)], f"interrupted: has the checkpoints {names}")
check(average(printed) == expected_average, f"interrupted: {printed}, expected {expected_average}")

# A new run that is killed after its first validation and before its first checkpoint leaves no other run to resume.
run(command("replaced", 1, *OPTIONS, *MODELS["transformer"]))
process = plotting("replaced", *OPTIONS, *MODELS["transformer"], "--validate-every", "2", "--seed", "7")
kill(process, signal.SIGKILL, 0, 0)
printed = run(command("replaced", 1, "--resume", *OPTIONS, *MODELS["transformer"]))
check("no checkpoint in replaced: training starts from the beginning" in printed, printed)
check(outcome("replaced") == outcome("transformer"), "replaced: the outcome differs")

# A new run that is killed after its first checkpoint and before its first validation does not count an older model.
run(command("unvalidated", 1, *OPTIONS, *MODELS["transformer"]))
shutil.copytree(scratch / "unvalidated", scratch / "unmarked")
process = subprocess.Popen(command("unvalidated", 1, *changed({"--updates": "100000"}), *MODELS["transformer"],
                                   "--seed", "7", "--validate-every", "100000"), cwd=scratch, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT)
kill(process, signal.SIGKILL, 0, 2)
printed = run(command("unvalidated", 1, "--resume", "--minutes", "0.00001"))
check("best so far, saved" in printed, printed)
check(json.loads((scratch / "unvalidated" / "training.json").read_text())["seed"] == 7, "unvalidated: another model")

# The model in --out may be newer than the checkpoint: a run may be killed between the validation of an interruption and
# the checkpoint after it. The resumed run knows the quality of that model.
process = plotting("killed", *OPTIONS, *MODELS["transformer"], "--validate-every", "10")
process.send_signal(signal.SIGINT)
with open(scratch / "plot", "rb") as pipe:
    pipe.read()
line = until_validation(process)
check("best so far, saved" in line, f"killed: {line}")
kill(process, signal.SIGKILL, 0, 0)
printed = run(command("killed", 1, "--resume", "--updates", "11", "--plot", "plot.svg"))
check("saved" not in printed, printed)

# A model file that was removed or replaced does not count. A finished run saves its last model again.
(scratch / "killed" / "model.safetensors").unlink()
printed = run(command("killed", 1, "--resume"))
check("best so far, saved" in printed, printed)
last = max((scratch / "killed" / "checkpoints").iterdir())
check((scratch / "killed" / "model.safetensors").read_bytes() == (last / "model.safetensors").read_bytes(), "killed")
shutil.copy(scratch / "transformer" / "model.safetensors", scratch / "killed" / "model.safetensors")
printed = run(command("killed", 1, "--resume"))
check("best so far, saved" in printed, printed)

# Older versions wrote no quality.json. Their model counts.
(scratch / "unmarked" / "quality.json").unlink()
printed = run(command("unmarked", 1, "--resume"))
check("saved" not in printed and outcome("unmarked") == outcome("transformer"), printed)

# 0 lifts a limit of the run.
run(command("limited", 1, *OPTIONS, *MODELS["transformer"], "--minutes", "0.00001"))
check(not list((scratch / "limited" / "checkpoints").glob(f"update-{UPDATES:09d}*")), "--minutes was no limit")
run(command("limited", 1, "--resume", "--minutes", "0"))
check(outcome("limited")[:2] == outcome("transformer")[:2], "limited: the parameters differ")

# A run continues from a checkpoint of an older version, whose state lacks members.
run(command("older", 1, *OPTIONS, *MODELS["transformer"], "--minutes", "0.00001"))
path = max((scratch / "older" / "checkpoints").iterdir()) / "state.json"
contents = json.loads(path.read_text())


def checksum():
    return zlib.crc32(json.dumps(contents, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode())


check(contents["checksums"].pop("state.json") == checksum(), "older: this script computes another checksum")
best = contents["state"]["best"]
del contents["state"]["saved"], contents["state"]["training"]["buffer"]
for member in ("arguments_since", "curves", "best_models", "is_interruption"):
    del contents["state"][member]
contents["checksums"]["state.json"] = checksum()
path.write_text(json.dumps(contents))
run(command("older", 1, "--resume", "--minutes", "0"))
check(outcome("older")[:2] == outcome("transformer")[:2], "older: the parameters differ")
check(state("older", UPDATES)["saved"]["bleu"] >= state("older", UPDATES)["best"]["bleu"] >= best["bleu"], "older")

# A damaged checkpoint is named, and the one before is used.
run(command("stopped", 1, "--resume", "--updates", "9"))
newest = max(checkpoints.iterdir())
(newest / "model.safetensors").write_bytes((newest / "model.safetensors").read_bytes()[:1000])
printed = run(command("stopped", 1, "--resume", "--updates", str(UPDATES)))
check("skipped a checkpoint" in printed and str(pathlib.Path(newest.name) / "model.safetensors") in printed, printed)

# If no checkpoint is usable, a run does not begin again, which would replace them.
shutil.copytree(scratch / "stopped", scratch / "unusable")
for file in (scratch / "unusable" / "checkpoints").glob("*/optimizer.safetensors"):
    file.write_bytes(b"damaged")
printed = run(command("unusable", 1, "--resume", *OPTIONS, *MODELS["transformer"]), 1)
check("--resume: no checkpoint in unusable can be used; without --resume" in printed, printed)

# A run that is resumed with more updates has another schedule from there on. Replay follows it.
short = ["5" if option == str(UPDATES) else option for option in OPTIONS]
run(command("extended", 1, *short, *MODELS["transformer"]))
run(command("extended", 2, "--resume", "--updates", "12"))
checkpoints = scratch / "extended" / "checkpoints"
for update in (9, 12):
    of_update = state("extended", update)
    check(of_update["arguments_since"] == 5, f"extended: {of_update}")
    printed = run([program, "replay", "--model", "extended", "--update", str(update)])
    check(f"parameters after it: {of_update['parameters']}\n" in printed, f"extended: {printed}")
for checkpoint in sorted(checkpoints.iterdir())[:-1]:
    shutil.rmtree(checkpoint)
printed = run([program, "replay", "--model", "extended", "--update", "2"], 1)
check("the run was resumed with other options after update 5" in printed, printed)

# Options and data must be those of the run, also for replay, from a checkpoint or from the beginning.
(scratch / "links.txt").write_text((scratch / "links.txt").read_text().replace("0-0 3-3", "0-0"))
for name in ("recurrent", "streamed"):
    printed = run(command(name, 1, "--resume"), 1)
    check(f"are not those that the run in {name} was begun with" in printed, printed)
printed = run(command("transformer", 1, "--resume", "--width", "64"), 1)
check("--width: is 64, but the run in transformer was begun with 32" in printed, printed)
pairs = (scratch / "pairs.tsv").read_text()
(scratch / "pairs.tsv").write_text(pairs.replace("b1", "b2"))
printed = run(command("transformer", 1, "--resume"), 1)
check("are not those that the run in transformer was begun with" in printed, printed)
for update in (1, UPDATES):
    printed = run([program, "replay", "--model", "transformer", "--update", str(update)], 1)
    check("are not those that the run was begun with" in printed, printed)
(scratch / "pairs.tsv").write_text(pairs)

# The same holds for the validation pairs and the initial model. Only the initial model's vocabularies are printed.
(scratch / "valid.tsv").write_text("a b1\tc d1\na a b2\tc c d2\n")
short = ["2" if option == str(UPDATES) else option for option in OPTIONS]
short += [*MODELS["transformer"], "--valid-pairs", "valid.tsv"]
printed = run(command("tuned", 1, *short, "--init", "transformer"))
check(printed.count("vocabulary size") == 2 and "vocabularies are those of transformer" in printed, printed)
(scratch / "valid.tsv").write_text("a b1\tc d1\na a b2\tc c d3\n")
printed = run(command("tuned", 1, "--resume", "--updates", "3"), 1)
check("validation pairs or the model of --init are not those" in printed, printed)
(scratch / "valid.tsv").write_text("a b1\tc d1\na a b2\tc c d2\n")
run(command("tuned", 1, "--resume", "--updates", "3"))
shutil.copy(scratch / "extended" / "model.safetensors", scratch / "transformer" / "model.safetensors")
printed = run(command("tuned", 1, "--resume", "--updates", "4"), 1)
check("validation pairs or the model of --init are not those" in printed, printed)
printed = run([program, "replay", "--model", "tuned", "--update", "3"], 1)
check("model of --init are not those" in printed, printed)

# Vocabularies leave out held-out pairs. Each word occurs in one pair, so only words of training pairs are counted.
(scratch / "words.tsv").write_text("".join(f"s{i}\tt{i}\n" for i in range(200)))
printed = run(command("words", 1, "--pairs", "words.tsv", "--tokens", "words", "--min-count", "1", "--updates", "1",
                      "--width", "16", "--layers", "1"))
check(f"source: words, vocabulary size {200 - 4 + 3}\n" in printed and "196 training pairs, 4 validation" in printed,
      printed)
