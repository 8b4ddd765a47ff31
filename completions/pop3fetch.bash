_pop3fetch_completion() {
    local line type prefix value found paths replies=() strip=
    local word=${2//\\/}  # readline's: it begins behind a colon or an equals sign
    while IFS= read -r line; do
        IFS=, read -r type prefix value <<< "$line"
        paths=()
        case $type in
            typed) [[ $value == *"$word" ]] && strip=${value%"$word"} ;;
            dir) mapfile -t paths < <(compgen -d -- "$value") ;;
            file) mapfile -t paths < <(compgen -f -- "$value") ;;
            stem) replies+=("$value"); compopt -o nospace ;;
            plain) replies+=("$value") ;;
        esac
        for found in "${paths[@]}"; do
            if [[ ${prefix#"$strip"} ]]; then  # in quotes: readline does not see a path
                [[ -d $found ]] && found+=/
                compopt -o nospace
            else
                compopt -o filenames
            fi
            replies+=("$prefix$found")
        done
    done < <(env COMP_WORDS="${COMP_LINE:0:COMP_POINT}" _POP3FETCH_COMPLETE=bash_complete "$1")
    COMPREPLY=("${replies[@]#"$strip"}")
}

complete -o nosort -F _pop3fetch_completion pop3fetch
