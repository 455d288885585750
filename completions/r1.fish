# fish completion for r1. Made by python -m r1cli.manual; do not edit.

# Whether the line is about this command, and as many of its arguments have been given (none: any number).
function __r1_at
    set -l words (commandline -opc)
    test "$words[2]" = "$argv[1]"; or return 1
    set -q argv[2]; or return 0
    set -l given 0
    set -l skip 0
    for word in $words[3..-1]
        if test $skip = 1
            set skip 0
        else if contains -- $word (__r1_valued $argv[1])
            set skip 1
        else if not string match -q -- '-?*' $word
            set given (math $given + 1)
        end
    end
    test $given -ge $argv[2]; and begin
        not set -q argv[3]; or test $given -le $argv[3]
    end
end

# Files with one of the suffixes, and folders to go on in.
function __r1_files
    set -l token (commandline -ct)
    for path in (__r1_expanded)
        if test -d $path
            __r1_path $path/
        else
            for suffix in $argv
                string match -q "*.$suffix" -- $path; and __r1_path $path
            end
        end
    end
end

# Folders by what is in them: a run has run.json, a model config.json; others only where they lead to one.
function __r1_checkpoints
    set -l found 0
    for path in (__r1_expanded)
        test -d $path; or continue
        for file in $argv
            if test -e $path/$file
                __r1_path $path checkpoint
                set found 1
                break
            else if count $path/*/$file > /dev/null
                __r1_path $path/
                set found 1
                break
            end
        end
    end
    test $found = 1; or __fish_complete_directories
end

# What begins like the word being typed, and how it is written there.
function __r1_expanded
    set -l token (string replace -r '^~/' $HOME/ -- (commandline -ct))
    for path in $token*
        echo $path
    end
end

function __r1_path
    if string match -q '~/*' -- (commandline -ct)
        set argv[1] (string replace $HOME/ '~/' -- $argv[1])
    end
    string join \t -- $argv
end

# The options of a command that take the next word.
function __r1_valued
    switch $argv[1]
        case init
            string split ' ' -- '--from --task --template --seed --total-steps --keep --save-every --refresh-reference --lora --lora-alpha --lora-targets'
        case prompts
            string split ' ' -- '--preset --split --config --revision --input-format --prompt-field --answer-field --answer-from --id-field --task --task-field --prompt-template --repeat --tests-dir --limit -n --skip --seed --output -o'
        case sample
            string split ' ' -- '--questions --group --temperature --top-p --max-tokens --stop --template --few-shot --prefill --seed --draw --split --model --concurrency --output -o --device --threads --slots --sampler --gpu-memory --engines --tensor-parallel'
        case reward
            string split ' ' -- '--language --length --judge --exec --python --weight --format-shape --max-length --length-cache --ngram --sandbox --code-timeout --code-memory --judge-model --judge-prompt --concurrency --timeout --on-error --jobs -j --output -o'
        case filter
            string split ' ' -- '--finish-reason --correct-by --min-reward --max-tokens --max-chars --max-paragraph-chars --language-min --language --max-repeat --decontaminate --ngram --dedupe --dedupe-by --similarity --solve-rate --best-of --per-prompt --rejects --output -o'
        case grpo-step
            string split ' ' -- '--run --lr --minibatches --epochs --loss --normalize --normalize-constant --scale --baseline --clip-low --clip-high --dual-clip --kl --kl-estimator --correction --correction-min --correction-max --offpolicy-mask --overlong-cache --entropy --weight-decay --beta1 --beta2 --adam-eps --grad-clip --warmup-steps --decay --total-steps --lr-min-ratio --old-logprobs --micro-tokens --shuffle-seed --max-staleness --keep --save-every --refresh-reference --output -o --device --threads'
        case sft
            string split ' ' -- '--out --template --epochs --batch --batch-tokens --lr --loss --normalize --max-length --validation --validation-share --validate-every --patience --weight-decay --beta1 --beta2 --adam-eps --grad-clip --warmup-steps --warmup-ratio --decay --lr-min-ratio --shuffle-seed --micro-tokens --save-every --keep --output -o --device --threads'
        case distill
            string split ' ' -- '--out --teacher --sample --reward --filter --work --top-k --template --epochs --batch --batch-tokens --lr --loss --normalize --max-length --validation --validation-share --validate-every --patience --weight-decay --beta1 --beta2 --adam-eps --grad-clip --warmup-steps --warmup-ratio --decay --lr-min-ratio --shuffle-seed --micro-tokens --save-every --keep --output -o --device --threads'
        case eval
            string split ' ' -- '--preset --samples -k --pass-at --cons-at --ties --questions --temperature --top-p --max-tokens --stop --template --seed --items --model --concurrency --jobs -j --output -o --device --threads --slots --sampler --gpu-memory --engines --tensor-parallel'
        case show
            string split ' ' -- '--limit -n --tokenizer --field -f --html'
        case plot
            string split ' ' -- '--metric -m --over --smooth --label --output -o --theme --height'
        case serve
            string split ' ' -- '--device --threads --slots --sampler --gpu-memory --engines --tensor-parallel --gpus --hostfile --nnodes --node-rank --rendezvous --trainer --zero --offload --gpu-size --model-size --micro-tokens --context --lora'
        case export
            string split ' ' -- '--step'
        case rollback
            string split ' ' -- '--to'
        case doctor
            string split ' ' -- '--output -o'
    end
end

complete -c r1 -f
complete -c r1 -n 'test (count (commandline -opc)) -eq 1' -a init -d 'Make a run directory from a base model.'
complete -c r1 -n 'test (count (commandline -opc)) -eq 1' -a prompts -d 'Write prompt records: generated questions, or any data set.'
complete -c r1 -n 'test (count (commandline -opc)) -eq 1' -a sample -d 'Sample groups of completions with their log-probabilities.'
complete -c r1 -n 'test (count (commandline -opc)) -eq 1' -a reward -d 'Judge completions: adds rewards, their sum and the reasons.'
complete -c r1 -n 'test (count (commandline -opc)) -eq 1' -a filter -d 'Keep the good records: rejection sampling, decontamination.'
complete -c r1 -n 'test (count (commandline -opc)) -eq 1' -a grpo-step -d 'Update the policy by one GRPO iteration: metrics out.'
complete -c r1 -n 'test (count (commandline -opc)) -eq 1' -a sft -d 'Fine-tune a run on examples: a metrics record per update.'
complete -c r1 -n 'test (count (commandline -opc)) -eq 1' -a distill -d 'Train a student on a teacher\'s rollouts.'
complete -c r1 -n 'test (count (commandline -opc)) -eq 1' -a eval -d 'Measure pass@1, unbiased pass@k and cons@k: one record a task.'
complete -c r1 -n 'test (count (commandline -opc)) -eq 1' -a show -d 'Show rollouts to a person: question, thinking, verdicts.'
complete -c r1 -n 'test (count (commandline -opc)) -eq 1' -a plot -d 'Draw learning curves of runs in the terminal, or as a picture.'
complete -c r1 -n 'test (count (commandline -opc)) -eq 1' -a serve -d 'Keep a run in memory, so that commands on it start at once.'
complete -c r1 -n 'test (count (commandline -opc)) -eq 1' -a export -d 'Copy a step\'s model to a plain Hugging Face folder.'
complete -c r1 -n 'test (count (commandline -opc)) -eq 1' -a rollback -d 'Make an older step the current one.'
complete -c r1 -n 'test (count (commandline -opc)) -eq 1' -a doctor -d 'Say what works on this machine, and what to install.'
complete -c r1 -n 'test (count (commandline -opc)) -eq 1' -a help -d 'Show all about a command.'
complete -c r1 -n 'test (count (commandline -opc)) -eq 1' -s h -l help -d 'Show this and exit.'
complete -c r1 -n 'test (count (commandline -opc)) -eq 1' -l version -d 'Show the version.'
complete -c r1 -n '__r1_at help' -a 'init prompts sample reward filter grpo-step sft distill eval show plot serve export rollback doctor stream'

complete -c r1 -n '__r1_at init 0 0' -a '(__fish_complete_directories)'
complete -c r1 -n '__r1_at init' -l from -x -a 'tiny tiny-student (__r1_checkpoints run.json config.json)' -d 'tiny, tiny-student, a run, a model folder, or a cached hub id.'
complete -c r1 -n '__r1_at init' -l task -x -a 'sum countdown (__r1_files jsonl)' -d 'What to draw questions from: sum, countdown, or a JSONL file.'
complete -c r1 -n '__r1_at init' -l template -x -a 'r1-zero chat raw (__fish_complete_path)' -d 'r1-zero, chat, raw, or a file with {prompt} in it.'
complete -c r1 -n '__r1_at init' -l seed -x -d 'Seed of the questions and of the samples.'
complete -c r1 -n '__r1_at init' -l total-steps -x -d 'Length of the learning-rate schedule, in updates; it falls linearly then.'
complete -c r1 -n '__r1_at init' -l keep -x -d 'Steps kept on disk besides step 0 and the reference; 0: all.'
complete -c r1 -n '__r1_at init' -l save-every -x -d 'Iterations between saves (of a resident backend).'
complete -c r1 -n '__r1_at init' -l refresh-reference -x -d 'Updates between moves of the KL reference; 0: never.'
complete -c r1 -n '__r1_at init' -l lora -x -d 'Train LoRA adapters of this rank, by peft; the base is frozen.'
complete -c r1 -n '__r1_at init' -l lora-alpha -x -d 'Scale of the adapters: W + A / RANK x B A (default: 32).'
complete -c r1 -n '__r1_at init' -l lora-targets -x -a 'all-linear attention' -d 'Layers that get adapters (default: all-linear).'
complete -c r1 -n '__r1_at init' -l quiet -s q -d 'Say nothing but errors.'
complete -c r1 -n '__r1_at init' -l verbose -s v -d 'Say more, and show tracebacks.'
complete -c r1 -n '__r1_at init' -l help -s h -d 'Show this and exit.'

complete -c r1 -n '__r1_at prompts 0' -a 'sum countdown aime24 aime25 math500 gpqa livecodebench codeforces mmlu mmlu-pro ifeval gsm8k math deepmath dapo dapo-processed openr1-math mixture-of-thoughts bigmath numinamath numinamath-1.5 taco apps (__r1_files jsonl json csv tsv parquet arrow gz zst bz2 xz)'
complete -c r1 -n '__r1_at prompts' -l preset -x -a 'aime24 aime25 math500 gpqa livecodebench codeforces mmlu mmlu-pro ifeval gsm8k countdown math deepmath dapo dapo-processed openr1-math mixture-of-thoughts bigmath numinamath numinamath-1.5 taco apps' -d 'A known data set: its fields, and without SOURCE its place on the hub.'
complete -c r1 -n '__r1_at prompts' -l split -x -d 'Which part of a data set; of a generated task, train or test.'
complete -c r1 -n '__r1_at prompts' -l config -x -d 'Which configuration of a hub\'s data set.'
complete -c r1 -n '__r1_at prompts' -l revision -x -d 'Which revision of a hub\'s data set.'
complete -c r1 -n '__r1_at prompts' -l input-format -x -a 'jsonl json csv tsv parquet arrow' -d 'What the files are (default: by name or content).'
complete -c r1 -n '__r1_at prompts' -l prompt-field -x -d 'The field of the prompt: question, prompt.0.content, ...'
complete -c r1 -n '__r1_at prompts' -l answer-field -x -d 'The field of the answer: answer, reward_model.ground_truth, ...'
complete -c r1 -n '__r1_at prompts' -l answer-from -x -a 'raw boxed hashes json' -d 'Where in that field the answer is: all of it, the last box, after ####, a JSON text.'
complete -c r1 -n '__r1_at prompts' -l id-field -x -d 'The field of the id (default: id, or a digest of the prompt).'
complete -c r1 -n '__r1_at prompts' -l task -x -d 'The task to write into every record: math, ...'
complete -c r1 -n '__r1_at prompts' -l task-field -x -d 'The field that names a row\'s task.'
complete -c r1 -n '__r1_at prompts' -l prompt-template -x -a 'none boxed letter code (__fish_complete_path)' -d 'none, boxed, letter, code, or a text with {prompt} and {any field}.'
complete -c r1 -n '__r1_at prompts' -l shuffle-choices -d 'Shuffle the options of multiple choice by --seed.'
complete -c r1 -n '__r1_at prompts' -l no-shuffle-choices -d 'Shuffle the options of multiple choice by --seed.'
complete -c r1 -n '__r1_at prompts' -l repeat -x -d 'Write each question N times, its choices in other orders.'
complete -c r1 -n '__r1_at prompts' -l tests-dir -x -a '(__fish_complete_directories)' -d 'Write tests larger than 64 kB to files in DIR.'
complete -c r1 -n '__r1_at prompts' -l unique -d 'Leave out questions that came before.'
complete -c r1 -n '__r1_at prompts' -l limit -s n -x -d 'At most N prompts (a generated task has no end: 32).'
complete -c r1 -n '__r1_at prompts' -l skip -x -d 'Pass over the first N.'
complete -c r1 -n '__r1_at prompts' -l shuffle -d 'Shuffle a data set\'s prompts by --seed (holds them).'
complete -c r1 -n '__r1_at prompts' -l seed -x -d 'Seed of both shuffles and of generated tasks.'
complete -c r1 -n '__r1_at prompts' -l output -s o -r -F -d 'Write to FILE (by FILE.part and a rename).'
complete -c r1 -n '__r1_at prompts' -l skip-bad -d 'Count bad lines and go on instead of stopping.'
complete -c r1 -n '__r1_at prompts' -l quiet -s q -d 'Say nothing but errors.'
complete -c r1 -n '__r1_at prompts' -l verbose -s v -d 'Say more, and show tracebacks.'
complete -c r1 -n '__r1_at prompts' -l help -s h -d 'Show this and exit.'

complete -c r1 -n '__r1_at sample 0 0' -a 'tiny tiny-student (__r1_checkpoints run.json config.json)'
complete -c r1 -n '__r1_at sample 1' -a '(__r1_files jsonl)'
complete -c r1 -n '__r1_at sample' -l questions -x -d 'Questions to draw, or to take from PROMPTS (paper: 32).'
complete -c r1 -n '__r1_at sample' -l group -x -d 'Samples per question (paper: 16).'
complete -c r1 -n '__r1_at sample' -l temperature -x -d 'Sampling temperature; 0 is greedy.'
complete -c r1 -n '__r1_at sample' -l top-p -x -d 'Nucleus sampling; 1 keeps all tokens.'
complete -c r1 -n '__r1_at sample' -l max-tokens -x -d 'Longest completion, in tokens.'
complete -c r1 -n '__r1_at sample' -l stop -x -d 'End a completion at TEXT (kept in it); repeatable.'
complete -c r1 -n '__r1_at sample' -l template -x -a 'r1-zero chat raw (__fish_complete_path)' -d 'r1-zero, chat, raw, or a file with {prompt} in it.'
complete -c r1 -n '__r1_at sample' -l few-shot -x -a '(__r1_files jsonl)' -d 'Worked examples (prompt, completion) put before each question.'
complete -c r1 -n '__r1_at sample' -l prefill -x -d 'Begin each answer with TEXT, as in --prefill \'<think>\'.'
complete -c r1 -n '__r1_at sample' -l seed -x -d 'Random seed (default: the run\'s).'
complete -c r1 -n '__r1_at sample' -l draw -x -d 'Another batch at the same step: the Nth after this one.'
complete -c r1 -n '__r1_at sample' -l split -x -a 'train test' -d 'Which questions of the run\'s task.'
complete -c r1 -n '__r1_at sample' -l model -x -d 'The model of a URL (default: its only one).'
complete -c r1 -n '__r1_at sample' -l concurrency -x -d 'Requests to a URL at a time (default: 32).'
complete -c r1 -n '__r1_at sample' -l output -s o -r -F -d 'Write to FILE (by FILE.part and a rename).'
complete -c r1 -n '__r1_at sample' -l skip-bad -d 'Count bad lines and go on instead of stopping.'
complete -c r1 -n '__r1_at sample' -l device -x -a 'cpu cuda' -d 'cpu or cuda; by default a GPU where there is one.'
complete -c r1 -n '__r1_at sample' -l threads -x -d 'CPU threads (default: 1 for small models).'
complete -c r1 -n '__r1_at sample' -l slots -x -d 'Samples decoded side by side (default: 128; 512 on a GPU).'
complete -c r1 -n '__r1_at sample' -l sampler -x -a 'auto torch vllm' -d 'What samples; auto: vllm where it is installed and a GPU is there, else torch.'
complete -c r1 -n '__r1_at sample' -l gpu-memory -x -d 'Part of the GPU\'s memory that vLLM takes (its own: 0.9).'
complete -c r1 -n '__r1_at sample' -l engines -x -d 'vLLM engines side by side, a process each.'
complete -c r1 -n '__r1_at sample' -l tensor-parallel -x -d 'GPUs that each vLLM engine computes on (on a CPU: processes).'
complete -c r1 -n '__r1_at sample' -l quiet -s q -d 'Say nothing but errors.'
complete -c r1 -n '__r1_at sample' -l verbose -s v -d 'Say more, and show tracebacks.'
complete -c r1 -n '__r1_at sample' -l help -s h -d 'Show this and exit.'

complete -c r1 -n '__r1_at reward 0' -a '(__r1_files jsonl)'
complete -c r1 -n '__r1_at reward' -l accuracy -d '1 when the final answer equals the record\'s `answer`, else 0.'
complete -c r1 -n '__r1_at reward' -l choice -d '1 when the letter that the answer names is the record\'s `answer`.'
complete -c r1 -n '__r1_at reward' -l code -d '1 when the program passes all of the record\'s `tests`, in a sandbox.'
complete -c r1 -n '__r1_at reward' -l ifeval -d '1 when all of the record\'s `instructions` are followed.'
complete -c r1 -n '__r1_at reward' -l format -d '1 when thinking and answer stand in their tags and nothing else, else 0.'
complete -c r1 -n '__r1_at reward' -l language -a 'auto af ar be bg ca cs da de el en es et eu fa fi fr ga gl he hi hr hu hy id is it ja ka kk ko lt lv mk mr nb ne nl pl pt ro ru sk sl sr sv sw th tr uk ur vi yue zh' -d 'Share of the thinking\'s words in LANG\'s script: auto (the prompt\'s), en, zh, ja, ko, ...'
complete -c r1 -n '__r1_at reward' -l length -x -a 'dapo kimi cosine' -d 'dapo: punish what nears --max-length; kimi: prefer a group\'s short ones; cosine: by a curve.'
complete -c r1 -n '__r1_at reward' -l repetition -d 'Minus the share of n-grams that came before (see --ngram).'
complete -c r1 -n '__r1_at reward' -l judge -x -a 'tiny tiny-student (__r1_checkpoints run.json config.json)' -d 'A model compares the answer with the record\'s `answer`.'
complete -c r1 -n '__r1_at reward' -l exec -x -d 'Your program: a record a line in, {rid, reward} out; repeatable.'
complete -c r1 -n '__r1_at reward' -l python -x -a '(__r1_files py)' -d 'A Python function of yours, also one written for TRL; repeatable.'
complete -c r1 -n '__r1_at reward' -l weight -x -a 'accuracy= choice= code= ifeval= format= language= length= repetition= judge=' -d 'Weight of a reward in the sum (default 1); repeatable.'
complete -c r1 -n '__r1_at reward' -l lenient -d 'Also read `answer is X` where nothing is tagged or boxed; IFEval\'s loose mode.'
complete -c r1 -n '__r1_at reward' -l format-shape -x -a 'zero think' -d 'zero: think and answer tags (R1-Zero); think: think tags only (R1).'
complete -c r1 -n '__r1_at reward' -l language-detector -d 'Tell Latin languages apart, by py3langid (extra: lang).'
complete -c r1 -n '__r1_at reward' -l max-length -x -d '--length: longest completion, in tokens (default: as sampled).'
complete -c r1 -n '__r1_at reward' -l length-cache -x -d '--length dapo: tokens before the longest that are punished.'
complete -c r1 -n '__r1_at reward' -l ngram -x -d '--repetition: words of an n-gram (default: 20).'
complete -c r1 -n '__r1_at reward' -l partial -d '--code: the share of tests passed, not all or nothing.'
complete -c r1 -n '__r1_at reward' -l sandbox -x -a 'auto bubblewrap landlock' -d '--code: what holds the programs (default: auto).'
complete -c r1 -n '__r1_at reward' -l unsafe-no-sandbox -d '--code: run them with resource limits only, as you.'
complete -c r1 -n '__r1_at reward' -l code-timeout -x -d '--code: CPU seconds per test (default: the record\'s, or 6).'
complete -c r1 -n '__r1_at reward' -l code-memory -x -d '--code: memory (default: the record\'s, or 512).'
complete -c r1 -n '__r1_at reward' -l judge-model -x -d '--judge URL: the model there (default: its only one).'
complete -c r1 -n '__r1_at reward' -l judge-prompt -r -F -d '--judge: a prompt with {question}, {reference}, {answer}; it must ask for {"verdict": ...}.'
complete -c r1 -n '__r1_at reward' -l concurrency -x -d '--judge URL: requests at once (default: 32).'
complete -c r1 -n '__r1_at reward' -l timeout -x -d '--exec, --python: seconds for a record (default: 10).'
complete -c r1 -n '__r1_at reward' -l on-error -x -a 'fail null zero' -d '--exec, --python: what a failing one does (default: fail).'
complete -c r1 -n '__r1_at reward' -l jobs -s j -x -d 'Processes that judge (default: one per CPU).'
complete -c r1 -n '__r1_at reward' -l selftest -d 'Judge each record\'s own answer instead of a completion: all must pass.'
complete -c r1 -n '__r1_at reward' -l output -s o -r -F -d 'Write to FILE (by FILE.part and a rename).'
complete -c r1 -n '__r1_at reward' -l skip-bad -d 'Count bad lines and go on instead of stopping.'
complete -c r1 -n '__r1_at reward' -l quiet -s q -d 'Say nothing but errors.'
complete -c r1 -n '__r1_at reward' -l verbose -s v -d 'Say more, and show tracebacks.'
complete -c r1 -n '__r1_at reward' -l help -s h -d 'Show this and exit.'

complete -c r1 -n '__r1_at filter 0' -a '(__r1_files jsonl)'
complete -c r1 -n '__r1_at filter' -l finish-reason -x -a 'stop length' -d 'Keep what finished by R, such as stop; repeatable.'
complete -c r1 -n '__r1_at filter' -l correct -d 'Keep right answers: rewards.accuracy, choice, code or ifeval is 1.'
complete -c r1 -n '__r1_at filter' -l correct-by -x -a 'accuracy choice code ifeval format language length repetition judge' -d 'The reward that says so, such as judge or a plug-in\'s.'
complete -c r1 -n '__r1_at filter' -l min-reward -x -d 'Keep rewards of X and more.'
complete -c r1 -n '__r1_at filter' -l max-tokens -x -d 'Longest completion, in tokens.'
complete -c r1 -n '__r1_at filter' -l max-chars -x -d 'Longest completion, in characters.'
complete -c r1 -n '__r1_at filter' -l no-code-in-think -d 'Drop thoughts with a fenced code block.'
complete -c r1 -n '__r1_at filter' -l max-paragraph-chars -x -d 'Longest paragraph of a thought, in characters.'
complete -c r1 -n '__r1_at filter' -l language-min -x -d 'Least share of words in the language, e.g. 0.9.'
complete -c r1 -n '__r1_at filter' -l language -a 'auto af ar be bg ca cs da de el en es et eu fa fi fr ga gl he hi hr hu hy id is it ja ka kk ko lt lv mk mr nb ne nl pl pt ro ru sk sl sr sv sw th tr uk ur vi yue zh' -d 'That language: auto (the prompt\'s), en, zh, ja, ko, ...'
complete -c r1 -n '__r1_at filter' -l max-repeat -x -d 'Largest share of repeated 4-grams, e.g. 0.2.'
complete -c r1 -n '__r1_at filter' -l decontaminate -x -a '(__r1_files jsonl)' -d 'Drop prompts that share words with this set; repeatable.'
complete -c r1 -n '__r1_at filter' -l ngram -x -d 'How many words in a row (default: 10).'
complete -c r1 -n '__r1_at filter' -l decontaminate-answers -d 'Look for them in the completion too.'
complete -c r1 -n '__r1_at filter' -l dedupe -x -a 'exact near' -d 'Drop what came before: the same, or much alike (extra: dedupe).'
complete -c r1 -n '__r1_at filter' -l dedupe-by -x -a 'prompt completion both' -d 'What is compared (default: both).'
complete -c r1 -n '__r1_at filter' -l similarity -x -d 'What near means: Jaccard of 3-word runs (default: 0.7).'
complete -c r1 -n '__r1_at filter' -l solve-rate -x -d 'Keep prompts of which such a share is right, e.g. 0.05:0.95.'
complete -c r1 -n '__r1_at filter' -l informative -d 'Keep prompts whose rewards differ: others give no gradient.'
complete -c r1 -n '__r1_at filter' -l best-of -x -a 'shortest longest reward first' -d 'Of each prompt, keep the best.'
complete -c r1 -n '__r1_at filter' -l per-prompt -x -d 'Of each prompt, keep N: the best ones, else the first.'
complete -c r1 -n '__r1_at filter' -l whole-input -d 'Take a prompt\'s samples together wherever they are in the input.'
complete -c r1 -n '__r1_at filter' -l mark -d 'Drop nothing: add `dropped` with the reason, as trainers need it.'
complete -c r1 -n '__r1_at filter' -l rejects -x -a '(__r1_files jsonl)' -d 'Keep what is dropped here, with the reason.'
complete -c r1 -n '__r1_at filter' -l output -s o -r -F -d 'Write to FILE (by FILE.part and a rename).'
complete -c r1 -n '__r1_at filter' -l skip-bad -d 'Count bad lines and go on instead of stopping.'
complete -c r1 -n '__r1_at filter' -l quiet -s q -d 'Say nothing but errors.'
complete -c r1 -n '__r1_at filter' -l verbose -s v -d 'Say more, and show tracebacks.'
complete -c r1 -n '__r1_at filter' -l help -s h -d 'Show this and exit.'

complete -c r1 -n '__r1_at grpo-step 0' -a '(__r1_files jsonl)'
complete -c r1 -n '__r1_at grpo-step' -l run -x -a '(__r1_checkpoints run.json)' -d 'The run to update, when its folder has moved.'
complete -c r1 -n '__r1_at grpo-step' -l lr -x -d 'Learning rate (paper: 3e-6).'
complete -c r1 -n '__r1_at grpo-step' -l minibatches -x -d 'Updates per batch, over random parts of it (paper: 16 of 8192).'
complete -c r1 -n '__r1_at grpo-step' -l epochs -x -d 'Passes over the batch (paper: 1).'
complete -c r1 -n '__r1_at grpo-step' -l loss -x -a 'grpo r1 gspo gspo-token cispo' -d 'grpo: ratio per token (DeepSeekMath); r1: per sequence, as R1 prints it; or a later one.'
complete -c r1 -n '__r1_at grpo-step' -l normalize -x -a 'sequence token constant' -d 'Mean over sequences of token means (GRPO), over tokens (DAPO), or constant (Dr. GRPO).'
complete -c r1 -n '__r1_at grpo-step' -l normalize-constant -x -d 'The constant of --normalize constant (default: max_tokens of the batch).'
complete -c r1 -n '__r1_at grpo-step' -l scale -x -a 'group batch none' -d 'Divide advantages by the std of the group, of the batch, or not.'
complete -c r1 -n '__r1_at grpo-step' -l baseline -x -a 'mean leave-one-out' -d 'Group mean, or the mean of the others (RLOO).'
complete -c r1 -n '__r1_at grpo-step' -l clip-low -x -d 'Lower clip range: ratio >= 1 - X (paper: 10).'
complete -c r1 -n '__r1_at grpo-step' -l clip-high -x -d 'Upper clip range: ratio <= 1 + X (paper: 10; DAPO: 0.28).'
complete -c r1 -n '__r1_at grpo-step' -l dual-clip -x -d 'Bound of the ratio for negative advantages, e.g. 3.'
complete -c r1 -n '__r1_at grpo-step' -l kl -x -d 'Weight of the KL to the reference (paper: 0.001; 0: no reference).'
complete -c r1 -n '__r1_at grpo-step' -l kl-estimator -x -a 'k1 k2 k3 k3-straight-through' -d 'Estimator of the KL (paper: k3).'
complete -c r1 -n '__r1_at grpo-step' -l kl-unbiased -d 'Weigh the KL by the ratio (DeepSeek-V3.2).'
complete -c r1 -n '__r1_at grpo-step' -l no-kl-unbiased -d 'Weigh the KL by the ratio (DeepSeek-V3.2).'
complete -c r1 -n '__r1_at grpo-step' -l correction -x -a 'none token-truncate token-mask sequence-truncate sequence-mask geometric-mask' -d 'Importance correction for sampler and trainer that disagree.'
complete -c r1 -n '__r1_at grpo-step' -l correction-min -x -d 'Lower bound of the correction\'s weight.'
complete -c r1 -n '__r1_at grpo-step' -l correction-max -x -d 'Upper bound of the correction\'s weight (TIS: 2).'
complete -c r1 -n '__r1_at grpo-step' -l offpolicy-mask -x -d 'Drop sequences with negative advantage that drifted more than X (DeepSeek-V3.2).'
complete -c r1 -n '__r1_at grpo-step' -l mask-truncated -d 'No gradient from truncated samples (DAPO).'
complete -c r1 -n '__r1_at grpo-step' -l no-mask-truncated -d 'No gradient from truncated samples (DAPO).'
complete -c r1 -n '__r1_at grpo-step' -l overlong-cache -x -d 'Punish the last N tokens before the limit softly (DAPO); 0: off.'
complete -c r1 -n '__r1_at grpo-step' -l entropy -x -d 'Weight of the entropy bonus.'
complete -c r1 -n '__r1_at grpo-step' -l weight-decay -x -d 'AdamW weight decay.'
complete -c r1 -n '__r1_at grpo-step' -l beta1 -x -d 'Adam\'s first decay rate.'
complete -c r1 -n '__r1_at grpo-step' -l beta2 -x -d 'Adam\'s second decay rate.'
complete -c r1 -n '__r1_at grpo-step' -l adam-eps -x -d 'Adam\'s epsilon.'
complete -c r1 -n '__r1_at grpo-step' -l grad-clip -x -d 'Clip the gradient\'s norm at X.'
complete -c r1 -n '__r1_at grpo-step' -l warmup-steps -x -d 'Updates of linear warm-up.'
complete -c r1 -n '__r1_at grpo-step' -l decay -x -a 'constant linear cosine' -d 'Learning-rate schedule after the warm-up.'
complete -c r1 -n '__r1_at grpo-step' -l total-steps -x -d 'Length of the schedule, in updates.'
complete -c r1 -n '__r1_at grpo-step' -l lr-min-ratio -x -d 'Where the schedule ends, as a share of --lr.'
complete -c r1 -n '__r1_at grpo-step' -l old-logprobs -x -a 'auto trainer sampler' -d 'Whose log-probs the ratio is taken against; auto: the sampler\'s when stale.'
complete -c r1 -n '__r1_at grpo-step' -l micro-tokens -x -d 'Tokens computed at once (GPU 16384, CPU 2304); changes memory, not the gradient.'
complete -c r1 -n '__r1_at grpo-step' -l shuffle-seed -x -d 'Seed of the split into minibatches.'
complete -c r1 -n '__r1_at grpo-step' -l max-staleness -x -d 'Accept rollouts up to N iterations old.'
complete -c r1 -n '__r1_at grpo-step' -l allow-partial -d 'Train on a batch from which rollouts are missing.'
complete -c r1 -n '__r1_at grpo-step' -l keep -x -d 'Steps kept on disk; 0: all.'
complete -c r1 -n '__r1_at grpo-step' -l save-every -x -d 'Iterations between saves of a resident backend.'
complete -c r1 -n '__r1_at grpo-step' -l refresh-reference -x -d 'Updates between moves of the reference; 0: never.'
complete -c r1 -n '__r1_at grpo-step' -l output -s o -r -F -d 'Write to FILE (by FILE.part and a rename).'
complete -c r1 -n '__r1_at grpo-step' -l device -x -a 'cpu cuda' -d 'cpu or cuda; by default a GPU where there is one.'
complete -c r1 -n '__r1_at grpo-step' -l threads -x -d 'CPU threads (default: 1 for small models).'
complete -c r1 -n '__r1_at grpo-step' -l gradient-checkpointing -d 'Recompute activations in the backward pass: less memory, a third more time.'
complete -c r1 -n '__r1_at grpo-step' -l no-gradient-checkpointing -d 'Recompute activations in the backward pass: less memory, a third more time.'
complete -c r1 -n '__r1_at grpo-step' -l quiet -s q -d 'Say nothing but errors.'
complete -c r1 -n '__r1_at grpo-step' -l verbose -s v -d 'Say more, and show tracebacks.'
complete -c r1 -n '__r1_at grpo-step' -l help -s h -d 'Show this and exit.'

complete -c r1 -n '__r1_at sft 0 0' -a 'tiny tiny-student (__r1_checkpoints run.json config.json)'
complete -c r1 -n '__r1_at sft 1' -a '(__r1_files jsonl)'
complete -c r1 -n '__r1_at sft' -l out -x -a '(__fish_complete_directories)' -d 'Make RUN from it, as r1 init does, and train that.'
complete -c r1 -n '__r1_at sft' -l template -x -a 'r1-zero chat raw (__fish_complete_path)' -d 'r1-zero, chat, raw, or a file with {prompt} in it.'
complete -c r1 -n '__r1_at sft' -l epochs -x -d 'Passes over the examples (paper: 2 to 3; default 2).'
complete -c r1 -n '__r1_at sft' -l batch -x -d 'Examples per update (paper and default: 128; 64 for distillation).'
complete -c r1 -n '__r1_at sft' -l batch-tokens -x -d 'Tokens per update, prompts included, instead of --batch.'
complete -c r1 -n '__r1_at sft' -l lr -x -d 'Learning rate (paper: 5e-5).'
complete -c r1 -n '__r1_at sft' -l loss -x -a 'completion all' -d 'Train on completions, or on prompts too.'
complete -c r1 -n '__r1_at sft' -l normalize -x -a 'token sequence' -d 'Mean over the tokens of an update, or over its examples\' means.'
complete -c r1 -n '__r1_at sft' -l max-length -x -d 'Leave out, and count, examples of more than N tokens; nothing is ever truncated.'
complete -c r1 -n '__r1_at sft' -l validation -x -a '(__r1_files jsonl)' -d 'Examples to validate on, as JSONL.'
complete -c r1 -n '__r1_at sft' -l validation-share -x -d 'Validate on this share of the prompts instead; a prompt is on one side only.'
complete -c r1 -n '__r1_at sft' -l validate-every -x -d 'Updates between validations (default: each epoch).'
complete -c r1 -n '__r1_at sft' -l patience -x -d 'Stop after N validations without a new best, and publish the best step.'
complete -c r1 -n '__r1_at sft' -l weight-decay -x -d 'AdamW weight decay.'
complete -c r1 -n '__r1_at sft' -l beta1 -x -d 'Adam\'s first decay rate.'
complete -c r1 -n '__r1_at sft' -l beta2 -x -d 'Adam\'s second decay rate.'
complete -c r1 -n '__r1_at sft' -l adam-eps -x -d 'Adam\'s epsilon.'
complete -c r1 -n '__r1_at sft' -l grad-clip -x -d 'Clip the gradient\'s norm at X.'
complete -c r1 -n '__r1_at sft' -l warmup-steps -x -d 'Updates of linear warm-up.'
complete -c r1 -n '__r1_at sft' -l warmup-ratio -x -d 'Linear warm-up as a share of all updates (default: 0.03).'
complete -c r1 -n '__r1_at sft' -l decay -x -a 'constant linear cosine' -d 'Learning-rate schedule (default and paper: cosine).'
complete -c r1 -n '__r1_at sft' -l lr-min-ratio -x -d 'Where the schedule ends, as a share of --lr (paper: 0.1).'
complete -c r1 -n '__r1_at sft' -l shuffle-seed -x -d 'Seed of the order of the examples.'
complete -c r1 -n '__r1_at sft' -l micro-tokens -x -d 'Tokens computed at once (GPU 16384, CPU 2304); changes memory, not the gradient.'
complete -c r1 -n '__r1_at sft' -l retokenize -d 'Tokenise the text of completions whose ids are of another tokenizer.'
complete -c r1 -n '__r1_at sft' -l restart -d 'Begin anew from the run\'s weights as they are, whatever it was trained on.'
complete -c r1 -n '__r1_at sft' -l save-every -x -d 'Updates between saves (default: each epoch, or 15 minutes).'
complete -c r1 -n '__r1_at sft' -l keep -x -d 'Steps kept on disk; 0: all.'
complete -c r1 -n '__r1_at sft' -l output -s o -r -F -d 'Write to FILE (by FILE.part and a rename).'
complete -c r1 -n '__r1_at sft' -l skip-bad -d 'Count bad lines and go on instead of stopping.'
complete -c r1 -n '__r1_at sft' -l device -x -a 'cpu cuda' -d 'cpu or cuda; by default a GPU where there is one.'
complete -c r1 -n '__r1_at sft' -l threads -x -d 'CPU threads (default: 1 for small models).'
complete -c r1 -n '__r1_at sft' -l gradient-checkpointing -d 'Recompute activations in the backward pass: less memory, a third more time.'
complete -c r1 -n '__r1_at sft' -l no-gradient-checkpointing -d 'Recompute activations in the backward pass: less memory, a third more time.'
complete -c r1 -n '__r1_at sft' -l quiet -s q -d 'Say nothing but errors.'
complete -c r1 -n '__r1_at sft' -l verbose -s v -d 'Say more, and show tracebacks.'
complete -c r1 -n '__r1_at sft' -l help -s h -d 'Show this and exit.'

complete -c r1 -n '__r1_at distill 0 0' -a 'tiny tiny-student (__r1_checkpoints run.json config.json)'
complete -c r1 -n '__r1_at distill 1' -a '(__r1_files jsonl)'
complete -c r1 -n '__r1_at distill' -l out -x -a '(__r1_checkpoints run.json)' -d 'Make RUN from it, as r1 init does, and train that.'
complete -c r1 -n '__r1_at distill' -l teacher -x -a 'tiny tiny-student (__r1_checkpoints run.json config.json)' -d 'Make the rollouts: sample this model, judge and filter.'
complete -c r1 -n '__r1_at distill' -l sample -x -d '--teacher: options of r1 sample, as in \'--group 4\'.'
complete -c r1 -n '__r1_at distill' -l reward -x -d '--teacher: options of r1 reward (default: \'--accuracy\').'
complete -c r1 -n '__r1_at distill' -l filter -x -d '--teacher: options of r1 filter (default: \'--correct --finish-reason stop\').'
complete -c r1 -n '__r1_at distill' -l work -x -a '(__fish_complete_directories)' -d '--teacher: where the files of the stages are (default: the run\'s path, .work).'
complete -c r1 -n '__r1_at distill' -l on-policy -d 'Learn from the student\'s own samples: reverse KL to a --teacher checkpoint.'
complete -c r1 -n '__r1_at distill' -l top-k -x -d 'Learn the K likeliest tokens of a --teacher checkpoint at each token.'
complete -c r1 -n '__r1_at distill' -l template -x -a 'r1-zero chat raw (__fish_complete_path)' -d 'r1-zero, chat, raw, or a file with {prompt} in it.'
complete -c r1 -n '__r1_at distill' -l epochs -x -d 'Passes over the examples (paper: 2 to 3; default 2).'
complete -c r1 -n '__r1_at distill' -l batch -x -d 'Examples per update (paper and default: 128; 64 for distillation).'
complete -c r1 -n '__r1_at distill' -l batch-tokens -x -d 'Tokens per update, prompts included, instead of --batch.'
complete -c r1 -n '__r1_at distill' -l lr -x -d 'Learning rate (paper: 1e-4 to 2e-5, by size and family; see above).'
complete -c r1 -n '__r1_at distill' -l loss -x -a 'completion all' -d 'Train on completions, or on prompts too.'
complete -c r1 -n '__r1_at distill' -l normalize -x -a 'token sequence' -d 'Mean over the tokens of an update, or over its examples\' means.'
complete -c r1 -n '__r1_at distill' -l max-length -x -d 'Leave out, and count, examples of more than N tokens; nothing is ever truncated.'
complete -c r1 -n '__r1_at distill' -l validation -x -a '(__r1_files jsonl)' -d 'Examples to validate on, as JSONL.'
complete -c r1 -n '__r1_at distill' -l validation-share -x -d 'Validate on this share of the prompts instead; a prompt is on one side only.'
complete -c r1 -n '__r1_at distill' -l validate-every -x -d 'Updates between validations (default: each epoch).'
complete -c r1 -n '__r1_at distill' -l patience -x -d 'Stop after N validations without a new best, and publish the best step.'
complete -c r1 -n '__r1_at distill' -l weight-decay -x -d 'AdamW weight decay.'
complete -c r1 -n '__r1_at distill' -l beta1 -x -d 'Adam\'s first decay rate.'
complete -c r1 -n '__r1_at distill' -l beta2 -x -d 'Adam\'s second decay rate.'
complete -c r1 -n '__r1_at distill' -l adam-eps -x -d 'Adam\'s epsilon.'
complete -c r1 -n '__r1_at distill' -l grad-clip -x -d 'Clip the gradient\'s norm at X.'
complete -c r1 -n '__r1_at distill' -l warmup-steps -x -d 'Updates of linear warm-up.'
complete -c r1 -n '__r1_at distill' -l warmup-ratio -x -d 'Linear warm-up as a share of all updates (default: 0.03).'
complete -c r1 -n '__r1_at distill' -l decay -x -a 'constant linear cosine' -d 'Learning-rate schedule (default and paper: cosine).'
complete -c r1 -n '__r1_at distill' -l lr-min-ratio -x -d 'Where the schedule ends, as a share of --lr (paper: 0.1).'
complete -c r1 -n '__r1_at distill' -l shuffle-seed -x -d 'Seed of the order of the examples.'
complete -c r1 -n '__r1_at distill' -l micro-tokens -x -d 'Tokens computed at once (GPU 16384, CPU 2304); changes memory, not the gradient.'
complete -c r1 -n '__r1_at distill' -l restart -d 'Begin anew from the run\'s weights as they are, whatever it was trained on.'
complete -c r1 -n '__r1_at distill' -l save-every -x -d 'Updates between saves (default: each epoch, or 15 minutes).'
complete -c r1 -n '__r1_at distill' -l keep -x -d 'Steps kept on disk; 0: all.'
complete -c r1 -n '__r1_at distill' -l output -s o -r -F -d 'Write to FILE (by FILE.part and a rename).'
complete -c r1 -n '__r1_at distill' -l skip-bad -d 'Count bad lines and go on instead of stopping.'
complete -c r1 -n '__r1_at distill' -l device -x -a 'cpu cuda' -d 'cpu or cuda; by default a GPU where there is one.'
complete -c r1 -n '__r1_at distill' -l threads -x -d 'CPU threads (default: 1 for small models).'
complete -c r1 -n '__r1_at distill' -l gradient-checkpointing -d 'Recompute activations in the backward pass: less memory, a third more time.'
complete -c r1 -n '__r1_at distill' -l no-gradient-checkpointing -d 'Recompute activations in the backward pass: less memory, a third more time.'
complete -c r1 -n '__r1_at distill' -l quiet -s q -d 'Say nothing but errors.'
complete -c r1 -n '__r1_at distill' -l verbose -s v -d 'Say more, and show tracebacks.'
complete -c r1 -n '__r1_at distill' -l help -s h -d 'Show this and exit.'

complete -c r1 -n '__r1_at eval 0 0' -a 'tiny tiny-student (__r1_checkpoints run.json config.json)'
complete -c r1 -n '__r1_at eval 1' -a '(__r1_files jsonl)'
complete -c r1 -n '__r1_at eval' -l preset -x -a 'aime24 aime25 math500 gpqa livecodebench codeforces mmlu mmlu-pro ifeval gsm8k countdown math deepmath dapo dapo-processed openr1-math mixture-of-thoughts bigmath numinamath numinamath-1.5 taco apps' -d 'A known set (aime24, math500, gpqa, ...): fetched, or read from files.'
complete -c r1 -n '__r1_at eval' -l samples -s k -x -d 'Samples per question.'
complete -c r1 -n '__r1_at eval' -l pass-at -x -d 'More k for pass@k, as 1,8,64 (always: the samples per question).'
complete -c r1 -n '__r1_at eval' -l cons-at -x -d 'More k for cons@k, as 16,64.'
complete -c r1 -n '__r1_at eval' -l ties -x -a 'expected first' -d 'cons@k of tied answers: their expected worth, or that of the first seen.'
complete -c r1 -n '__r1_at eval' -l compare -d 'Compare two files of judged rollouts question by question: A B.'
complete -c r1 -n '__r1_at eval' -l common -d 'Leave out questions that only one of A and B has.'
complete -c r1 -n '__r1_at eval' -l questions -x -d 'Questions (default: the run\'s, or all).'
complete -c r1 -n '__r1_at eval' -l temperature -x -d 'Sampling temperature; 0 is greedy.'
complete -c r1 -n '__r1_at eval' -l top-p -x -d 'Nucleus sampling; 1 keeps all tokens.'
complete -c r1 -n '__r1_at eval' -l max-tokens -x -d 'Longest completion, in tokens.'
complete -c r1 -n '__r1_at eval' -l stop -x -d 'End a completion at TEXT (kept in it); repeatable.'
complete -c r1 -n '__r1_at eval' -l template -x -a 'r1-zero chat raw (__fish_complete_path)' -d 'r1-zero, chat, raw, or a file with {prompt} in it.'
complete -c r1 -n '__r1_at eval' -l seed -x -d 'Random seed (default: the run\'s).'
complete -c r1 -n '__r1_at eval' -l strict -d 'Read only tagged or boxed answers, as a reward does.'
complete -c r1 -n '__r1_at eval' -l items -x -a '(__r1_files jsonl)' -d 'Append every judged sample to FILE, and go on from what it has.'
complete -c r1 -n '__r1_at eval' -l model -x -d 'The model of a URL (default: its only one).'
complete -c r1 -n '__r1_at eval' -l concurrency -x -d 'Requests to a URL at a time (default: 32).'
complete -c r1 -n '__r1_at eval' -l jobs -s j -x -d 'Processes that judge (default: one per CPU).'
complete -c r1 -n '__r1_at eval' -l output -s o -r -F -d 'Write to FILE (by FILE.part and a rename).'
complete -c r1 -n '__r1_at eval' -l device -x -a 'cpu cuda' -d 'cpu or cuda; by default a GPU where there is one.'
complete -c r1 -n '__r1_at eval' -l threads -x -d 'CPU threads (default: 1 for small models).'
complete -c r1 -n '__r1_at eval' -l slots -x -d 'Samples decoded side by side (default: 128; 512 on a GPU).'
complete -c r1 -n '__r1_at eval' -l sampler -x -a 'auto torch vllm' -d 'What samples; auto: vllm where it is installed and a GPU is there, else torch.'
complete -c r1 -n '__r1_at eval' -l gpu-memory -x -d 'Part of the GPU\'s memory that vLLM takes (its own: 0.9).'
complete -c r1 -n '__r1_at eval' -l engines -x -d 'vLLM engines side by side, a process each.'
complete -c r1 -n '__r1_at eval' -l tensor-parallel -x -d 'GPUs that each vLLM engine computes on (on a CPU: processes).'
complete -c r1 -n '__r1_at eval' -l quiet -s q -d 'Say nothing but errors.'
complete -c r1 -n '__r1_at eval' -l verbose -s v -d 'Say more, and show tracebacks.'
complete -c r1 -n '__r1_at eval' -l help -s h -d 'Show this and exit.'

complete -c r1 -n '__r1_at show 0' -a '(__r1_files jsonl)'
complete -c r1 -n '__r1_at show' -l limit -s n -x -d 'At most N records (groups, differences).'
complete -c r1 -n '__r1_at show' -l groups -d 'One page a group: its rewards, and the best sample beside the worst.'
complete -c r1 -n '__r1_at show' -l diff -d 'What differs between two FILEs: verdicts, or answers side by side.'
complete -c r1 -n '__r1_at show' -l tokens -d 'Mark tokens to which the sampler gave less than .5, .1 and .01.'
complete -c r1 -n '__r1_at show' -l tokenizer -x -a 'tiny tiny-student (__r1_checkpoints run.json config.json)' -d 'Whose tokenizer --tokens takes (default: the policy\'s).'
complete -c r1 -n '__r1_at show' -l field -s f -x -d 'A table of these fields, one record a line; repeatable.'
complete -c r1 -n '__r1_at show' -l html -x -a '(__r1_files jsonl)' -d 'Write one page of HTML that needs no other file.'
complete -c r1 -n '__r1_at show' -l skip-bad -d 'Count bad lines and go on instead of stopping.'
complete -c r1 -n '__r1_at show' -l quiet -s q -d 'Say nothing but errors.'
complete -c r1 -n '__r1_at show' -l verbose -s v -d 'Say more, and show tracebacks.'
complete -c r1 -n '__r1_at show' -l help -s h -d 'Show this and exit.'

complete -c r1 -n '__r1_at plot 0' -a '(__r1_checkpoints run.json) (__r1_files jsonl)'
complete -c r1 -n '__r1_at plot' -l metric -s m -x -a 'reward pass@1 accuracy format length thinking kl entropy clip logprob_gap truncated zero_variance grad_norm loss validation_loss lr' -d 'What to draw: kl, accuracy, seconds.gradient; repeatable.'
complete -c r1 -n '__r1_at plot' -l over -x -a 'step tokens seconds k' -d 'The axis: updates, or what they took; k draws pass@k (default: what there is).'
complete -c r1 -n '__r1_at plot' -l smooth -x -d 'Mean over N updates (pictures: a fifteenth of them; else 1).'
complete -c r1 -n '__r1_at plot' -l label -x -d 'What the legend calls a source; once for each, in order.'
complete -c r1 -n '__r1_at plot' -l output -s o -r -F -d 'Write to FILE (by FILE.part and a rename).'
complete -c r1 -n '__r1_at plot' -l theme -x -a 'light dark' -d 'Background of a picture (default: light).'
complete -c r1 -n '__r1_at plot' -l height -x -d 'Lines per curve in the terminal.'
complete -c r1 -n '__r1_at plot' -l follow -d 'Draw again whenever there is more, until Ctrl-C or the end of stdin.'
complete -c r1 -n '__r1_at plot' -l quiet -s q -d 'Say nothing but errors.'
complete -c r1 -n '__r1_at plot' -l verbose -s v -d 'Say more, and show tracebacks.'
complete -c r1 -n '__r1_at plot' -l help -s h -d 'Show this and exit.'

complete -c r1 -n '__r1_at serve 0 0' -a '(__r1_checkpoints run.json)'
complete -c r1 -n '__r1_at serve' -l detach -d 'Return when the backend is ready; it goes on alone.'
complete -c r1 -n '__r1_at serve' -l status -d 'Print one record about the backend; exit 1 if none.'
complete -c r1 -n '__r1_at serve' -l stop -d 'Save and end the backend; clears up after a dead one.'
complete -c r1 -n '__r1_at serve' -l device -x -a 'cpu cuda' -d 'cpu or cuda; by default a GPU where there is one.'
complete -c r1 -n '__r1_at serve' -l threads -x -d 'CPU threads (default: 1 for small models).'
complete -c r1 -n '__r1_at serve' -l slots -x -d 'Samples decoded side by side (default: 128; 512 on a GPU).'
complete -c r1 -n '__r1_at serve' -l gradient-checkpointing -d 'Recompute activations in the backward pass: less memory, a third more time.'
complete -c r1 -n '__r1_at serve' -l no-gradient-checkpointing -d 'Recompute activations in the backward pass: less memory, a third more time.'
complete -c r1 -n '__r1_at serve' -l sampler -x -a 'auto torch vllm' -d 'What samples; auto: vllm where it is installed and a GPU is there, else torch.'
complete -c r1 -n '__r1_at serve' -l gpu-memory -x -d 'Part of the GPU\'s memory that vLLM takes (its own: 0.9).'
complete -c r1 -n '__r1_at serve' -l sleep -d 'Let vLLM give its GPU memory back during an update (default: no).'
complete -c r1 -n '__r1_at serve' -l no-sleep -d 'Let vLLM give its GPU memory back during an update (default: no).'
complete -c r1 -n '__r1_at serve' -l engines -x -d 'vLLM engines side by side, a process each.'
complete -c r1 -n '__r1_at serve' -l tensor-parallel -x -d 'GPUs that each vLLM engine computes on (on a CPU: processes).'
complete -c r1 -n '__r1_at serve' -l gpus -x -d 'Processes on this machine, a GPU each (on a CPU: just processes).'
complete -c r1 -n '__r1_at serve' -l hostfile -r -F -d 'Machines that take part, lines of HOST slots=N; this one first.'
complete -c r1 -n '__r1_at serve' -l nnodes -x -d 'Machines that take part; run this command on each.'
complete -c r1 -n '__r1_at serve' -l node-rank -x -d 'Which of the machines this is; 0 serves the clients.'
complete -c r1 -n '__r1_at serve' -l rendezvous -x -d 'Where the machines meet: node 0\'s name and a free port of it.'
complete -c r1 -n '__r1_at serve' -l trainer -x -a 'auto torch deepspeed' -d 'What trains; auto: deepspeed where there is more than one process, else torch.'
complete -c r1 -n '__r1_at serve' -l zero -x -d 'What DeepSpeed spreads: 1 optimizer, 2 and gradients, 3 and weights (2).'
complete -c r1 -n '__r1_at serve' -l offload -x -a 'none optimizer all' -d 'What DeepSpeed keeps in host memory; all: weights too, with --zero 3 (default: none).'
complete -c r1 -n '__r1_at serve' -l plan -d 'Print what each GPU would have to hold, and whether it fits; start nothing.'
complete -c r1 -n '__r1_at serve' -l gpu-size -x -d 'Memory of a GPU, for --plan (80GB).'
complete -c r1 -n '__r1_at serve' -l model-size -x -a '0.5B 0.6B 1B 1.5B 1.7B 3B 4B 7B 8B 14B 32B 70B 72B' -d 'A usual size such as 7B, for --plan (default: the run\'s model).'
complete -c r1 -n '__r1_at serve' -l micro-tokens -x -d 'Tokens computed at once, for --plan (default: the run\'s).'
complete -c r1 -n '__r1_at serve' -l context -x -d 'Longest sample with its prompt, for --plan (the run\'s).'
complete -c r1 -n '__r1_at serve' -l lora -x -d 'Rank of adapters, for --plan (default: the run\'s).'
complete -c r1 -n '__r1_at serve' -l quiet -s q -d 'Say nothing but errors.'
complete -c r1 -n '__r1_at serve' -l verbose -s v -d 'Say more, and show tracebacks.'
complete -c r1 -n '__r1_at serve' -l help -s h -d 'Show this and exit.'

complete -c r1 -n '__r1_at export 0 0' -a '(__r1_checkpoints run.json)'
complete -c r1 -n '__r1_at export 1 1' -a '(__fish_complete_directories)'
complete -c r1 -n '__r1_at export' -l step -x -d 'Which step (default: the latest).'
complete -c r1 -n '__r1_at export' -l adapter -d 'Only the LoRA adapter, as peft reads it.'
complete -c r1 -n '__r1_at export' -l quiet -s q -d 'Say nothing but errors.'
complete -c r1 -n '__r1_at export' -l verbose -s v -d 'Say more, and show tracebacks.'
complete -c r1 -n '__r1_at export' -l help -s h -d 'Show this and exit.'

complete -c r1 -n '__r1_at rollback 0 0' -a '(__r1_checkpoints run.json)'
complete -c r1 -n '__r1_at rollback' -l to -x -d 'The step that becomes the current one.'
complete -c r1 -n '__r1_at rollback' -l quiet -s q -d 'Say nothing but errors.'
complete -c r1 -n '__r1_at rollback' -l verbose -s v -d 'Say more, and show tracebacks.'
complete -c r1 -n '__r1_at rollback' -l help -s h -d 'Show this and exit.'

complete -c r1 -n '__r1_at doctor' -l quick -d 'Read versions only; import, start and try nothing.'
complete -c r1 -n '__r1_at doctor' -l output -s o -r -F -d 'Write to FILE (by FILE.part and a rename).'
complete -c r1 -n '__r1_at doctor' -l quiet -s q -d 'Say nothing but errors.'
complete -c r1 -n '__r1_at doctor' -l verbose -s v -d 'Say more, and show tracebacks.'
complete -c r1 -n '__r1_at doctor' -l help -s h -d 'Show this and exit.'
