# bash completion for r1. Made by python -m r1cli.manual; do not edit.

# Adds the words that begin with what has been typed.
_r1_words() {
    local word
    for word; do
        [[ $word == "$_r1_typed"* ]] && COMPREPLY+=("$word")
    done
}

# Adds paths as they are to stand on the line; one with a / at its end goes on.
_r1_paths() {
    local path IFS=/
    if [[ -z $_r1_home ]] && [[ -n $_r1_quote || "$*" != *[^a-zA-Z0-9_./~:@%+,=-]* ]]; then
        COMPREPLY+=("$@")
        return 0
    fi
    for path; do
        [[ -n $_r1_home ]] && path="~/${path#"$HOME"/}"
        [[ -z $_r1_quote && $path == *[^a-zA-Z0-9_./~:@%+,=-]* ]] && printf -v path %q "$path"
        COMPREPLY+=("$path")
    done
}

# Adds files with one of the suffixes (none: any).
_r1_plain() {
    local path
    local -a found=()
    for path in "$_r1_path"*; do
        if (($# == 0)); then
            [[ -f $path ]] && found+=("$path")
        elif [[ " $* " == *" ${path##*.} "* ]]; then
            found+=("$path")
        fi
    done
    ((${#found[@]})) && _r1_paths "${found[@]}"
}

# Adds folders, to name or to go on in.
_r1_folders() {
    local -a found=("$_r1_path"*/)
    [[ -d ${found[0]} ]] && _r1_paths "${found[@]}"
}

_r1_files() {
    _r1_folders
    _r1_plain "$@"
}

# Adds folders by what is in them: a run has run.json, a model config.json. Others only where they lead to one.
_r1_checkpoints() {
    local folder file found before=${#COMPREPLY[@]}
    for folder in "$_r1_path"*/; do
        [[ -d $folder ]] || continue
        for file; do
            [[ -e $folder$file ]] && _r1_paths "${folder%/}" && continue 2
        done
        for file; do
            for found in "$folder"*/"$file"; do
                [[ -e $found ]] && _r1_paths "$folder" && continue 3
            done
        done
    done
    [[ ${#COMPREPLY[@]} -gt $before ]] || _r1_folders
}

# Sets what there is to know of a command.
_r1_command() {
    case $1 in
        init)
            options='--from --task --template --seed --total-steps --keep --save-every --refresh-reference --lora --lora-alpha --lora-targets --quiet --verbose --help'
            valued=' --from --task --template --seed --total-steps --keep --save-every --refresh-reference --lora --lora-alpha --lora-targets '
            last=1
            ;;
        prompts)
            options='--preset --split --config --revision --input-format --prompt-field --answer-field --answer-from --id-field --task --task-field --prompt-template --shuffle-choices --no-shuffle-choices --repeat --tests-dir --unique --limit --skip --shuffle --seed --output --skip-bad --quiet --verbose --help'
            valued=' --preset --split --config --revision --input-format --prompt-field --answer-field --answer-from --id-field --task --task-field --prompt-template --repeat --tests-dir --limit -n --skip --seed --output -o '
            last=1
            ;;
        sample)
            options='--questions --group --temperature --top-p --max-tokens --stop --template --few-shot --prefill --seed --draw --split --model --concurrency --output --skip-bad --device --threads --slots --sampler --gpu-memory --engines --tensor-parallel --quiet --verbose --help'
            valued=' --questions --group --temperature --top-p --max-tokens --stop --template --few-shot --prefill --seed --draw --split --model --concurrency --output -o --device --threads --slots --sampler --gpu-memory --engines --tensor-parallel '
            last=2
            ;;
        reward)
            options='--accuracy --choice --code --ifeval --format --language --length --repetition --judge --exec --python --weight --lenient --format-shape --language-detector --max-length --length-cache --ngram --partial --sandbox --unsafe-no-sandbox --code-timeout --code-memory --judge-model --judge-prompt --concurrency --timeout --on-error --jobs --selftest --output --skip-bad --quiet --verbose --help'
            valued=' --language --length --judge --exec --python --weight --format-shape --max-length --length-cache --ngram --sandbox --code-timeout --code-memory --judge-model --judge-prompt --concurrency --timeout --on-error --jobs -j --output -o '
            optional=' --language '
            last=1
            ;;
        filter)
            options='--finish-reason --correct --correct-by --min-reward --max-tokens --max-chars --no-code-in-think --max-paragraph-chars --language-min --language --max-repeat --decontaminate --ngram --decontaminate-answers --dedupe --dedupe-by --similarity --solve-rate --informative --best-of --per-prompt --whole-input --mark --rejects --output --skip-bad --quiet --verbose --help'
            valued=' --finish-reason --correct-by --min-reward --max-tokens --max-chars --max-paragraph-chars --language-min --language --max-repeat --decontaminate --ngram --dedupe --dedupe-by --similarity --solve-rate --best-of --per-prompt --rejects --output -o '
            optional=' --language '
            last=1
            ;;
        grpo-step)
            options='--run --lr --minibatches --epochs --loss --normalize --normalize-constant --scale --baseline --clip-low --clip-high --dual-clip --kl --kl-estimator --kl-unbiased --no-kl-unbiased --correction --correction-min --correction-max --offpolicy-mask --mask-truncated --no-mask-truncated --overlong-cache --entropy --weight-decay --beta1 --beta2 --adam-eps --grad-clip --warmup-steps --decay --total-steps --lr-min-ratio --old-logprobs --micro-tokens --shuffle-seed --max-staleness --allow-partial --keep --save-every --refresh-reference --output --device --threads --gradient-checkpointing --no-gradient-checkpointing --quiet --verbose --help'
            valued=' --run --lr --minibatches --epochs --loss --normalize --normalize-constant --scale --baseline --clip-low --clip-high --dual-clip --kl --kl-estimator --correction --correction-min --correction-max --offpolicy-mask --overlong-cache --entropy --weight-decay --beta1 --beta2 --adam-eps --grad-clip --warmup-steps --decay --total-steps --lr-min-ratio --old-logprobs --micro-tokens --shuffle-seed --max-staleness --keep --save-every --refresh-reference --output -o --device --threads '
            last=1
            ;;
        sft)
            options='--out --template --epochs --batch --batch-tokens --lr --loss --normalize --max-length --validation --validation-share --validate-every --patience --weight-decay --beta1 --beta2 --adam-eps --grad-clip --warmup-steps --warmup-ratio --decay --lr-min-ratio --shuffle-seed --micro-tokens --retokenize --restart --save-every --keep --output --skip-bad --device --threads --gradient-checkpointing --no-gradient-checkpointing --quiet --verbose --help'
            valued=' --out --template --epochs --batch --batch-tokens --lr --loss --normalize --max-length --validation --validation-share --validate-every --patience --weight-decay --beta1 --beta2 --adam-eps --grad-clip --warmup-steps --warmup-ratio --decay --lr-min-ratio --shuffle-seed --micro-tokens --save-every --keep --output -o --device --threads '
            last=2
            ;;
        distill)
            options='--out --teacher --sample --reward --filter --work --on-policy --top-k --template --epochs --batch --batch-tokens --lr --loss --normalize --max-length --validation --validation-share --validate-every --patience --weight-decay --beta1 --beta2 --adam-eps --grad-clip --warmup-steps --warmup-ratio --decay --lr-min-ratio --shuffle-seed --micro-tokens --restart --save-every --keep --output --skip-bad --device --threads --gradient-checkpointing --no-gradient-checkpointing --quiet --verbose --help'
            valued=' --out --teacher --sample --reward --filter --work --top-k --template --epochs --batch --batch-tokens --lr --loss --normalize --max-length --validation --validation-share --validate-every --patience --weight-decay --beta1 --beta2 --adam-eps --grad-clip --warmup-steps --warmup-ratio --decay --lr-min-ratio --shuffle-seed --micro-tokens --save-every --keep --output -o --device --threads '
            last=2
            ;;
        eval)
            options='--preset --samples --pass-at --cons-at --ties --compare --common --questions --temperature --top-p --max-tokens --stop --template --seed --strict --items --model --concurrency --jobs --output --device --threads --slots --sampler --gpu-memory --engines --tensor-parallel --quiet --verbose --help'
            valued=' --preset --samples -k --pass-at --cons-at --ties --questions --temperature --top-p --max-tokens --stop --template --seed --items --model --concurrency --jobs -j --output -o --device --threads --slots --sampler --gpu-memory --engines --tensor-parallel '
            last=2
            ;;
        show)
            options='--limit --groups --diff --tokens --tokenizer --field --html --skip-bad --quiet --verbose --help'
            valued=' --limit -n --tokenizer --field -f --html '
            last=1
            ;;
        plot)
            options='--metric --over --smooth --label --output --theme --height --follow --quiet --verbose --help'
            valued=' --metric -m --over --smooth --label --output -o --theme --height '
            last=1
            ;;
        serve)
            options='--detach --status --stop --device --threads --slots --gradient-checkpointing --no-gradient-checkpointing --sampler --gpu-memory --sleep --no-sleep --engines --tensor-parallel --gpus --hostfile --nnodes --node-rank --rendezvous --trainer --zero --offload --plan --gpu-size --model-size --micro-tokens --context --lora --quiet --verbose --help'
            valued=' --device --threads --slots --sampler --gpu-memory --engines --tensor-parallel --gpus --hostfile --nnodes --node-rank --rendezvous --trainer --zero --offload --gpu-size --model-size --micro-tokens --context --lora '
            last=1
            ;;
        export)
            options='--step --adapter --quiet --verbose --help'
            valued=' --step '
            last=2
            ;;
        rollback)
            options='--to --quiet --verbose --help'
            valued=' --to '
            last=1
            ;;
        doctor)
            options='--quick --output --quiet --verbose --help'
            valued=' --output -o '
            last=0
            ;;
        help) last=1 ;;
    esac
}

# Adds what completes an option's value, or the argument at a place.
_r1_value() {
    case $1 in
        'help 1')
            _r1_words init prompts sample reward filter grpo-step sft distill eval show plot serve export rollback doctor stream
            ;;
        'init 1' | 'prompts --tests-dir' | 'sft --out' | 'distill --work' | 'export 2')
            _r1_folders
            ;;
        'init --from' | 'sample 1' | 'reward --judge' | 'sft 1' | 'distill 1' | 'distill --teacher' | 'eval 1' | 'show --tokenizer')
            _r1_words tiny tiny-student; _r1_checkpoints run.json config.json
            ;;
        'init --task')
            _r1_words sum countdown; _r1_files jsonl
            ;;
        'init --template' | 'sample --template' | 'sft --template' | 'distill --template' | 'eval --template')
            _r1_words r1-zero chat raw; _r1_files
            ;;
        'init --lora-targets')
            _r1_words all-linear attention
            ;;
        'prompts 1')
            _r1_words sum countdown aime24 aime25 math500 gpqa livecodebench codeforces mmlu mmlu-pro ifeval gsm8k math deepmath dapo dapo-processed openr1-math mixture-of-thoughts bigmath numinamath numinamath-1.5 taco apps; _r1_files jsonl json csv tsv parquet arrow gz zst bz2 xz
            ;;
        'prompts --preset' | 'eval --preset')
            _r1_words aime24 aime25 math500 gpqa livecodebench codeforces mmlu mmlu-pro ifeval gsm8k countdown math deepmath dapo dapo-processed openr1-math mixture-of-thoughts bigmath numinamath numinamath-1.5 taco apps
            ;;
        'prompts --input-format')
            _r1_words jsonl json csv tsv parquet arrow
            ;;
        'prompts --answer-from')
            _r1_words raw boxed hashes json
            ;;
        'prompts --prompt-template')
            _r1_words none boxed letter code; _r1_files
            ;;
        'prompts --output' | 'prompts -o' | 'sample --output' | 'sample -o' | 'reward --judge-prompt' | 'reward --output' | 'reward -o' | 'filter --output' | 'filter -o' | 'grpo-step --output' | 'grpo-step -o' | 'sft --output' | 'sft -o' | 'distill --output' | 'distill -o' | 'eval --output' | 'eval -o' | 'plot --output' | 'plot -o' | 'serve --hostfile' | 'doctor --output' | 'doctor -o')
            _r1_files
            ;;
        'sample 2' | 'sample --few-shot' | 'reward 1' | 'filter 1' | 'filter --decontaminate' | 'filter --rejects' | 'grpo-step 1' | 'sft 2' | 'sft --validation' | 'distill 2' | 'distill --validation' | 'eval 2' | 'eval --items' | 'show 1' | 'show --html')
            _r1_files jsonl
            ;;
        'sample --split')
            _r1_words train test
            ;;
        'sample --device' | 'grpo-step --device' | 'sft --device' | 'distill --device' | 'eval --device' | 'serve --device')
            _r1_words cpu cuda
            ;;
        'sample --sampler' | 'eval --sampler' | 'serve --sampler')
            _r1_words auto torch vllm
            ;;
        'reward --language' | 'filter --language')
            _r1_words auto af ar be bg ca cs da de el en es et eu fa fi fr ga gl he hi hr hu hy id is it ja ka kk ko lt lv mk mr nb ne nl pl pt ro ru sk sl sr sv sw th tr uk ur vi yue zh
            ;;
        'reward --length')
            _r1_words dapo kimi cosine
            ;;
        'reward --python')
            _r1_files py
            ;;
        'reward --weight')
            _r1_words accuracy= choice= code= ifeval= format= language= length= repetition= judge=
            ;;
        'reward --format-shape')
            _r1_words zero think
            ;;
        'reward --sandbox')
            _r1_words auto bubblewrap landlock
            ;;
        'reward --on-error')
            _r1_words fail null zero
            ;;
        'filter --finish-reason')
            _r1_words stop length
            ;;
        'filter --correct-by')
            _r1_words accuracy choice code ifeval format language length repetition judge
            ;;
        'filter --dedupe')
            _r1_words exact near
            ;;
        'filter --dedupe-by')
            _r1_words prompt completion both
            ;;
        'filter --best-of')
            _r1_words shortest longest reward first
            ;;
        'grpo-step --run' | 'distill --out' | 'serve 1' | 'export 1' | 'rollback 1')
            _r1_checkpoints run.json
            ;;
        'grpo-step --loss')
            _r1_words grpo r1 gspo gspo-token cispo
            ;;
        'grpo-step --normalize')
            _r1_words sequence token constant
            ;;
        'grpo-step --scale')
            _r1_words group batch none
            ;;
        'grpo-step --baseline')
            _r1_words mean leave-one-out
            ;;
        'grpo-step --kl-estimator')
            _r1_words k1 k2 k3 k3-straight-through
            ;;
        'grpo-step --correction')
            _r1_words none token-truncate token-mask sequence-truncate sequence-mask geometric-mask
            ;;
        'grpo-step --decay' | 'sft --decay' | 'distill --decay')
            _r1_words constant linear cosine
            ;;
        'grpo-step --old-logprobs')
            _r1_words auto trainer sampler
            ;;
        'sft --loss' | 'distill --loss')
            _r1_words completion all
            ;;
        'sft --normalize' | 'distill --normalize')
            _r1_words token sequence
            ;;
        'eval --ties')
            _r1_words expected first
            ;;
        'plot 1')
            _r1_checkpoints run.json; _r1_plain jsonl
            ;;
        'plot --metric' | 'plot -m')
            _r1_words reward pass@1 accuracy format length thinking kl entropy clip logprob_gap truncated zero_variance grad_norm loss validation_loss lr
            ;;
        'plot --over')
            _r1_words step tokens seconds k
            ;;
        'plot --theme')
            _r1_words light dark
            ;;
        'serve --trainer')
            _r1_words auto torch deepspeed
            ;;
        'serve --offload')
            _r1_words none optimizer all
            ;;
        'serve --model-size')
            _r1_words 0.5B 0.6B 1B 1.5B 1.7B 3B 4B 7B 8B 14B 32B 70B 72B
            ;;
    esac
}

_r1() {
    local _r1_typed=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]}
    local options='' valued=' ' optional=' ' last=0 place=0 index word
    COMPREPLY=()
    # Bash cuts words at = and at : ; put --option=value together again.
    if [[ $_r1_typed == = ]]; then
        _r1_typed=''
    elif [[ $previous == = ]]; then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    # What stands on the line may be quoted; what lies on disk is not.
    local _r1_quote='' _r1_home=''
    [[ $_r1_typed == [\"\']* ]] && _r1_quote=${_r1_typed:0:1} && _r1_typed=${_r1_typed:1}
    local _r1_path=${_r1_typed//\\/}
    [[ $_r1_path == "~/"* ]] && _r1_home=1 _r1_path=$HOME/${_r1_path:2}
    if ((COMP_CWORD == 1)); then
        _r1_words init prompts sample reward filter grpo-step sft distill eval show plot serve export rollback doctor help --help --version
        return
    fi
    _r1_command "$command"
    if [[ $valued == *" $previous "* ]]; then
        [[ $optional == *" $previous "* && $_r1_typed == -* ]] && _r1_words $options || _r1_value "$command $previous"
    elif [[ $_r1_typed == -* ]]; then
        _r1_words $options
    else
        for ((index = 2; index < COMP_CWORD; index++)); do
            word=${COMP_WORDS[index]}
            if [[ $valued == *" $word "* ]]; then
                [[ $optional == *" $word "* && ${COMP_WORDS[index + 1]} == -* ]] || ((index++))
                [[ ${COMP_WORDS[index]} == = ]] && ((index++))
            elif [[ $word != -* || $word == - ]]; then
                ((place++))
            fi
        done
        ((++place > last)) && ((place = last))
        ((place)) && _r1_value "$command $place"
        [[ ${#COMPREPLY[@]} -gt 0 || -n $_r1_typed ]] || _r1_words $options
    fi
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[/=] ]]; then
        compopt -o nospace 2> /dev/null
    fi
}

complete -F _r1 r1
