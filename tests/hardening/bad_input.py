"""Bad input by kind: what is typed, the exit code, and what the one line says of it.

Words are typed in the folder that `bad_files` makes, where `model` is a good checkpoint; `new` is
not there. Of a line `code | words | said` the last is a regular expression.
"""

from __future__ import annotations

from dataclasses import dataclass

TYPED = {
    "a command or a flag that is none": """
        2 | smple                                               | did you mean sample\\?
        2 | train --out new --fast                              | --fast is not a flag of minicfg tr
        2 | train --out new --drop-separately                   | --drop-separately is not a flag of
        2 | sample model more --out new/x.png                   | more is one argument too many
        2 | sample model --out new/x.png --solver heun          | --solver heun is unknown; choose
        2 | sample model --out new/x.png --rule zero            | --rule zero is unknown; choose
        2 | train --out new --precision int8                    | --precision int8 is unknown;
    """,
    "nothing where something is needed": """
        2 |                                                     | demo, train, distill
        2 | train                                               | minicfg train lacks --out PATH
        2 | sample --out new/x.png                              | minicfg sample lacks PATH
        2 | train --out new --steps                             | --steps lacks its value; give a
        2 | sweep model --out new --steps                       | --steps is empty
        2 | evaluate model --out new --w                        | --w is empty
        2 | train --out new --multipliers                       | multipliers = \\(\\)
    """,
    "an empty word, as of a shell's variable that is not set": """
        2 | train --out EMPTY                                   | an argument is empty
        2 | train --out=                                        | --out= is empty
        2 | sample EMPTY --out new/x.png                        | an argument is empty
        2 | sample model --out EMPTY                            | an argument is empty
        2 | train --data EMPTY --out new                        | an argument is empty
    """,
    "glyphs that there are not": """
        2 | train --out new --data glyphs:                      | does not name glyphs
        2 | train --out new --data glyphs:2x32                  | channels = 2: glyphs have 3
        2 | train --out new --data glyphs:3x15                  | side = 15 is outside 16..64
        2 | train --out new --data glyphs:Ab                    | letters = 'Ab': pass one or more
    """,
    "a null character": """
        2 | train --out aNULb                                   | 'a.x00b' contains a null charact
        2 | sample model --out aNULb.png                        | null character
        2 | sample aNULb --out new/x.png                        | null character
    """,
    "text for a number": """
        2 | train --out new --steps many                        | --steps many is not an integer;
        2 | train --out new --lr fast                           | --lr fast is not a number; write
        2 | train --out new --size 1e3                          | --size 1e3 is not an integer;
        2 | evaluate model --out new --w heavy                  | --w heavy has the wrong type; see
    """,
    "a seed": """
        2 | train --out new --seed -1                           | seed = -1 .* an integer in 0..
        2 | train --out new --seed 18446744073709551616         | seed = 18446744073709551616
        2 | train --out new --seed 1.5                          | --seed 1.5 is not an integer;
        2 | train --out new --seed today                        | --seed today is not an integer;
        2 | demo --out new --seed -1                            | seed = -1
        2 | sample model --out new/x.png --seed -3              | seed = -3
        2 | sample model --out new/x.gif --seed 18446744073709551616 | seed = 18446744073709551616
        2 | evaluate model --out new --seed -1                  | seed = -1
        2 | sweep model --out new --seed -1                     | seed = -1
    """,
    "steps of training": """
        2 | train --out new --steps 0                           | steps = 0 .* an integer in 1
        2 | train --out new --steps -5                          | steps = -5
        2 | train --out new --steps 99999999999999999999        | steps = 99999999999999999999
    """,
    "a batch": """
        2 | train --out new --batch 0                           | batch = 0
        2 | train --out new --batch 1048577                     | batch = 1048577
    """,
    "a schedule": """
        2 | train --out new --schedule sigmoidal                | --schedule sigmoidal is unknown;
        2 | train --out new --T 0                               | T = 0
        2 | train --out new --T 10001                           | T = 10001
        2 | train --out new --zero-snr                          | zero_snr with prediction = 'eps'
        2 | train --out new --zero-snr --prediction v --T 1     | zero_snr .* T = 1
        2 | train --out new --continuous                        | continuous .* 'cosine'
        2 | train --out new --schedule flow                     | schedule = 'flow' with .* 'eps'
        2 | train --out new --prediction flow                   | --prediction flow is unknown;
    """,
    "a rate": """
        2 | train --out new --lr nan                            | lr = nan
        2 | train --out new --lr 0                              | lr = 0.0
        2 | train --out new --lr inf                            | lr = inf
        2 | train --out new --warmup 1                          | warmup = 1.0
        2 | train --out new --weight-decay -1                   | weight_decay = -1.0
        2 | train --out new --grad-clip 0                       | grad_clip = 0.0
        2 | train --out new --min-snr -1                        | min_snr = -1.0
    """,
    "a share of dropped labels": """
        2 | train --out new --p-uncond 1.5                      | p_uncond = 1.5 .* number in 0..1
        2 | train --out new --p-uncond -0.1                     | p_uncond = -0.1
        2 | train --out new --p-uncond nan                      | p_uncond = nan
        2 | sweep model --out new --p-uncond 0.1 2              | p_uncond = 2.0
    """,
    "an average": """
        2 | train --out new --ema 1                             | ema = 1.0 .* a number in .0, 1
        2 | train --out new --ema -0.1                          | ema = -0.1
        2 | train --out new --ema nan                           | ema = nan
    """,
    "a network": """
        2 | train --out new --width 12                          | width = 12 .* use a multiple of 8
        2 | train --out new --width 0                           | width = 0
        2 | train --out new --multipliers 0                     | multipliers = 0
        2 | train --out new --multipliers 1 1 1 1 1 1 1         | 1..6 levels
        2 | train --out new --blocks 0                          | blocks = 0
        2 | train --out new --attention 5                       | attention = 5
        2 | train --out new --dropout 1                         | dropout = 1.0
    """,
    "a size of pictures": """
        2 | train --out new --data folder:good --size 0         | size = 0 .* an integer in 1..1024
        2 | train --out new --data folder:good --size 2000      | size = 2000
        2 | train --out new --data folder:good --size 30        | 30x30: 3 levels .* divisible by 4
        2 | train --out new --data npz:odd.npz                  | 7x7: 3 levels .* divisible by 4
    """,
    "what is kept on the way": """
        2 | train --out new --save-every 0                      | --save-every 0 is below 1; choose
        2 | train --out new --keep -1                           | --keep -1 is negative; choose 0
        2 | train --out new --sample-every -1                   | --sample-every -1 is negative; ch
    """,
    "a label": """
        2 | sample model --out new/x.png --labels cat           | --labels cat is not .* from 0, 1,
        2 | sample model --out new/x.png --labels 3 10          | --labels 10 is not .* 0..9
        2 | sample model --out new/x.png --labels -1            | -1
        2 | sample model --out new/x.png --labels 1.5           | --labels 1.5 is not a class
    """,
    "how many": """
        2 | sample model --out new/x.png --each 0               | --each 0 is outside 1..1000000;
        2 | sample model --out new/x.png --each -4              | --each -4 is outside
        2 | sample model --out new/x.npz --each 1000000000000   | --each 1000000000000 is outside
        2 | sample model --out new/x.png --each 100000          | 100000 samples .* do not fit
        2 | sample model --out new/x.gif --each 400             | 400 samples of each do not fit
        2 | evaluate model --out new --n 39                     | --n 39 is outside 40..1000000; ch
        2 | evaluate model --out new --n 100000000000           | --n 100000000000 is outside 40..1
    """,
    "a weight": """
        2 | sample model --out new/x.png --w nan                | w = nan is not a finite
        2 | sample model --out new/x.png --w -inf               | w = -inf is not a finite
        2 | sample model --out new/x.png --w 1e38               | --w 1e\\+38 is outside .*; choose
        2 | sample model --out new/x.gif --solver cfgpp         | --w 2 is outside -1..0, .* cfgpp
        2 | evaluate model --out new --w 0 inf                  | w = inf is not a finite
    """,
    "a range of weights": """
        2 | sweep model --out new --w 4:0:1                     | --w 4:0:1 is not .* from:to:step
        2 | sweep model --out new --w 0:1                       | --w 0:1 is not .* from:to:step
        2 | sweep model --out new --w 0:1:0                     | --w 0:1:0 is not .* from:to:step
        2 | sweep model --out new --w 1,1                       | --w 1,1 is not .* from:to:step
        2 | sweep model --out new --w nan:1:1                   | --w nan:1:1 is not .* from:to:step
        2 | sweep model --out new --w ,                         | --w , is not .* from:to:step
        2 | sweep model --out new --w 0:1:1e-320                | too many weights
        2 | sweep model --out new --solver cfgpp                | --w 0.1 is outside -1..0, .* cfgpp
    """,
    "steps of sampling": """
        2 | sample model --out new/x.png --steps 0              | steps = 0 is outside 1..1000
        2 | sample model --out new/x.png --steps 1001           | steps = 1001 is outside
        2 | evaluate model --out new --steps -1                 | steps = -1 is outside
        2 | sweep model --out new --steps 2 1001                | steps = 1001 is outside
    """,
    "a solver's own": """
        2 | sample model --out new/x.png --solver ddim --eta 7  | eta = 7.0 is outside 0..1
        2 | sample model --out new/x.png --v 2                  | v = 2.0 is outside 0..1
        2 | sample model --out new/x.png --eta 1                | --eta 1 works .* the solver is ddp
    """,
    "a rule's own": """
        2 | sample model --out new/x.png --phi 0.5              | --phi 0.5 works .* the rule is gui
        2 | sample model --out new/x.png --rule rescale --phi 2 | --rule rescale: phi = 2.0
        2 | sample model --out new/x.png --rule dynamic_threshold --P 99 | P = 99
        2 | evaluate model --out new --rule apg --apg-r nan     | --rule apg: r = nan
    """,
    "an interval": """
        2 | sample model --out new/x.png --interval 2 -2        | --interval 2 -2 is not .* LOW <= H
        2 | sample model --out new/x.png --interval nan 2       | --interval nan 2 is not .* LOW <=
        2 | sweep model --out new --interval 2                  | --interval 2 is not FLOAT FLOAT
    """,
    "a bound on the guess": """
        2 | sample model --out new/x.png --clip 0               | --clip 0 is not above 0; choose a
        2 | sample model --out new/x.png --clip nan             | --clip nan is not above 0
        2 | evaluate model --out new --clip -1                  | --clip -1 is not above 0
    """,
    "a device": """
        2 | train --out new --device tpu                        | --device tpu .* auto, cpu or cuda
        2 | sample model --out new/x.png --device meta          | --device meta .* auto, cpu
        2 | evaluate model --out new --device cuda:-1           | --device cuda:-1 .* auto, cpu
        2 | sweep model --out new --device mps                  | --device mps .* auto, cpu
    """,
    "what a picture is called": """
        2 | sample model --out new/x.jpg                        | x.jpg has .* .png, .npz or .gif
        2 | sample model --out new/x                            | .png, .npz or .gif
        2 | sample model --out new/x.PNG                        | .png, .npz or .gif
        4 | sample model --out LONG.png                         | File name too long
    """,
    "noise": """
        3 | sample model --out new/x.png --noise none.npy       | --noise none.npy is not there
        3 | sample model --out new/x.png --noise fifo           | --noise fifo is not there, or is
        3 | sample model --out new/x.png --noise text.safetensors | text.safetensors cannot be read
        2 | sample model --out new/x.gif --noise none.npy       | does not work with an animation
    """,
    "no file where a file goes": """
        2 | sample model --out ./                               | ./ contains files already; choose
        2 | sample model --out folder.png                       | folder.png is a folder or a device
        2 | sample model --out fifo.png                         | fifo.png is a folder or a device
        2 | sample model --out zero.png                         | zero.png is a folder or a device
    """,
    "no folder where a folder goes": """
        4 | train --out file                                    | file .*another folder
        4 | train --out file/run                                | cannot be written to .* folder
        4 | train --out fifo                                    | fifo cannot be written to
        4 | train --out LONG                                    | File name too long
        4 | sample model --out file/x.png                       | cannot be written to
        4 | evaluate model --out fifo                           | fifo cannot be written to
        4 | sweep model --out zero.png                          | zero.png cannot be written to
        4 | demo --out loop                                     | loop cannot be written to
        4 | bench --cpu --out fifo                              | fifo cannot be written to .*choose
        4 | bench --cpu --peers --out zero.png                  | zero.png cannot be written to
        4 | sample model --out file/                            | file cannot be written to
    """,
    "a checkpoint that is not there, or no file": """
        3 | sample none --out new/x.png                         | none.safetensors is not there
        3 | evaluate none --out new                             | none.safetensors is not there
        3 | sweep none --out new                                | none.safetensors is not there
        3 | sample fifo --out new/x.png                         | fifo.safetensors is not there
        3 | sample folder --out new/x.png                       | folder.safetensors is not there
        3 | sample zero --out new/x.png                         | zero.safetensors is not there
        3 | sample loop --out new/x.png                         | loop.safetensors is not there
        3 | sample LONG --out new/x.png                         | File name too long
    """,
    "a checkpoint that is damaged": """
        3 | sample half --out new/x.png                         | half.safetensors is damaged
        3 | sample flipped --out new/x.png                      | flipped.safetensors .* SHA-256
        3 | evaluate state --out new                            | contains a 'state', not a 'model'
        3 | sweep text --out new                                | text.safetensors
    """,
    "a run to go on with": """
        2 | train --out new --resume                            | --resume: new contains no state
        2 | train --out file --resume                           | --resume: file contains no state
        2 | train --out . --steps 2                             | already contains a run; add --r
        3 | train --out broken --resume                         | state.safetensors is damaged
        2 | train --out . --resume --lr 1                       | --lr 1.0 differs from 0.003, the
        2 | train --out . --resume --steps 1                    | --steps 1 is smaller than 2, the
        2 | train --out . --resume --data toy:dots              | data = toy:dots, but .* other ima
    """,
    "a file of settings": """
        2 | train --out new --config none.toml                  | --config none.toml is not a file
        2 | train --out new --config fifo                       | --config fifo is not a file; name
        2 | train --out new --config folder                     | --config folder is not a file
        2 | train --out new --config LONG                       | cannot be read .File name too lo
        2 | train --out new --config text.safetensors           | is not valid TOML .*; correct it
        2 | train --out new --config half.safetensors           | is not valid TOML .*; correct it
    """,
    "data that have no such name": """
        2 | train --out new --data mnist                        | data = 'mnist' is .* one of digits
        2 | train --out new --data idx:                         | data = 'idx:'
        2 | train --out new --data toy:moons                    | data = 'toy:moons'
        2 | train --out new --data http://x                     | data = 'http://x'
    """,
    "data that are not there, or no file": """
        3 | train --out new --data npz:none.npz                 | none.npz is not there
        3 | train --out new --data folder:none                  | none is not a folder
        3 | train --out new --data idx:none                     | none/train-images.* is not there
        3 | train --out new --data npz:fifo                     | fifo is not there
        3 | train --out new --data npz:zero.png                 | zero.png is not there
        3 | train --out new --data folder:fifo                  | fifo is not a folder
        3 | train --out new --data npz:LONG                     | File name too long
        3 | train --out new --data folder:LONG                  | File name too long
        3 | train --out new --data idx:LONG                     | File name too long
    """,
}


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    kind: str
    typed: str
    code: int
    said: str

    def __str__(self) -> str:
        return self.typed or "nothing"

    @property
    def words(self) -> list[str]:
        """What a shell would hand on."""
        written = {"EMPTY": "", "LONG": "a" * 300, "LONG.png": "a" * 300 + ".png"}
        words = [written.get(word, word.replace("NUL", "\0")) for word in self.typed.split()]
        return [f"{word[:-4]}{'a' * 300}" if word.endswith(":LONG") else word for word in words]


def cases() -> list[Case]:
    """The table, with the cases of the files that `bad_files` holds."""
    from tests.hardening.bad_files import FILES

    typed = [
        Case(kind, words.strip(), int(code), said.strip())
        for kind, lines in TYPED.items()
        for line in lines.strip().splitlines()
        for code, words, said in [line.split("|", 2)]
    ]
    filed = [
        Case(kind, f"train --out new --data {spec}", 3, said)
        for kind, files in FILES.items()
        for spec, (_, said) in files.items()
    ]
    return [*typed, *filed]
