function _pop3fetch_completion
    set -l words (commandline -cp | string collect)
    set -l word (commandline -ct | string collect)
    for line in (env _POP3FETCH_COMPLETE=fish_complete COMP_WORDS=$words COMP_CWORD=$word pop3fetch)
        set -l parts (string split --max 2 "," -- $line)
        switch $parts[1]
            case dir
                printf '%s\n' $parts[2](__fish_complete_directories $parts[3] "")
            case file
                printf '%s\n' $parts[2](__fish_complete_path $parts[3] "")
            case plain stem
                echo $parts[2]$parts[3]
        end
    end
end

complete --no-files --command pop3fetch --arguments "(_pop3fetch_completion)"
