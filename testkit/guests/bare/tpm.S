/*
 * A guest that uses its TPM 2.0, by the FIFO interface of a TPM TIS at its usual address: again and
 * again it extends PCR 16 by the same digest, and prints what the register and an index of its
 * non-volatile memory hold. In a chain of digests none can be missing or stand twice. The index is
 * defined and written by the first guest that finds none, with a number of no meaning.
 *
 *   TPM 64 digits of the register, 16 digits of the index
 *
 * Layout of guest-physical memory: the image at 1 MiB, answers at 2 MiB, the stack below them. There
 * is no paging.
 */

        .set    ANSWER, 0x200000
        .set    MULTIBOOT_MAGIC, 0x1badb002
        .set    CODE, 8
        .set    DATA, 16

        # TCG PC Client Platform TPM Profile: locality 0
        .set    ACCESS, 0xfed40000
        .set    STATUS, 0xfed40018
        .set    FIFO, 0xfed40024
        .set    IN_USE, 0x20
        .set    READY, 0x40
        .set    GO, 0x20
        .set    AVAILABLE, 0x10

        # IBM PC/AT: the first serial port, and a port that leads nowhere.
        .set    SERIAL, 0x3f8
        .set    SERIAL_STATUS, 0x3fd
        .set    NOWHERE, 0x80

        .set    LENGTH, 5                       # its last byte; no command is longer than that
        .set    RESULT, 6
        .set    PCR_VALUE, 30
        .set    INDEX_VALUE, 16

        .section .multiboot, "a"
        .long   MULTIBOOT_MAGIC, 0, -MULTIBOOT_MAGIC

        .text
        .code32
        .globl  start
start:
        cli
        cld
        lgdt    gdt_pointer
        ljmp    $CODE, $flat
flat:   movl    $DATA, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    $ANSWER, %esp

        movb    $0x02, ACCESS                   # request the use of it
use:    testb   $IN_USE, ACCESS
        jz      use

        movl    $startup, %esi
        call    command
        movl    $read_index, %esi
        call    command
        cmpl    $0, ANSWER + RESULT
        je      extend
        movl    $define_index, %esi
        call    command
        rdtsc
        movl    %eax, number
        movl    %edx, number + 4
        movl    $write_index, %esi
        call    command

extend: movl    $extend_pcr, %esi
        call    command
        movl    $read_pcr, %esi
        call    command
        movl    $name, %esi
        movl    $name_end - name, %ecx
text:   lodsb
        call    put
        loop    text
        movl    $ANSWER + PCR_VALUE, %esi
        movl    $32, %ecx
        call    digits
        movb    $' ', %al
        call    put
        movl    $read_index, %esi
        call    command
        movl    $ANSWER + INDEX_VALUE, %esi
        movl    $8, %ecx
        call    digits
        movb    $'\n', %al
        call    put
        movl    $40000, %ecx
rest:   inb     $NOWHERE, %al
        loop    rest
        jmp     extend

# Sends the command at %esi and reads the answer.
command:
        movb    $READY, STATUS
ready:  testb   $READY, STATUS
        jz      ready
        movzbl  LENGTH(%esi), %ecx
send:   lodsb
        movb    %al, FIFO
        loop    send
        movb    $GO, STATUS
work:   testb   $AVAILABLE, STATUS
        jz      work
        movl    $ANSWER, %edi
receive:
        movb    FIFO, %al
        stosb
        testb   $AVAILABLE, STATUS
        jnz     receive
        movb    $READY, STATUS
        ret

# Prints %ecx bytes at %esi.
digits: lodsb
        movb    %al, %bl
        shrb    $4, %al
        call    digit
        movb    %bl, %al
        andb    $15, %al
        call    digit
        loop    digits
        ret

digit:  addb    $'0', %al
        cmpb    $'9', %al
        jbe     put
        addb    $'a' - '9' - 1, %al

# Prints the character in %al.
put:    movb    %al, %ah
        movw    $SERIAL_STATUS, %dx
full:   inb     %dx, %al
        testb   $0x20, %al
        jz      full
        movb    %ah, %al
        movw    $SERIAL, %dx
        outb    %al, %dx
        ret

# TPM 2.0 Library, Part 3. Numbers are big-endian: tag, length, code of the command.
        .macro  empty_password
        .byte   0, 0, 0, 9
        .byte   0x40, 0, 0, 9, 0, 0, 0, 0, 0
        .endm

startup:
        .byte   0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44
        .byte   0, 0                            # TPM_SU_CLEAR
extend_pcr:
        .byte   0x80, 2, 0, 0, 0, 65, 0, 0, 1, 0x82
        .byte   0, 0, 0, 16
        empty_password
        .byte   0, 0, 0, 1, 0, 0x0b             # one digest, SHA-256
        .fill   32, 1, 0x5a
read_pcr:
        .byte   0x80, 1, 0, 0, 0, 20, 0, 0, 1, 0x7e
        .byte   0, 0, 0, 1, 0, 0x0b, 3, 0, 0, 1
define_index:
        .byte   0x80, 2, 0, 0, 0, 45, 0, 0, 1, 0x2a
        .byte   0x40, 0, 0, 1                   # by the owner
        empty_password
        .byte   0, 0                            # no password of its own
        .byte   0, 14, 1, 0, 0, 16, 0, 0x0b
        .byte   2, 6, 0, 6, 0, 0, 0, 8          # read and written by the owner, 8 bytes
write_index:
        .byte   0x80, 2, 0, 0, 0, 43, 0, 0, 1, 0x37
        .byte   0x40, 0, 0, 1, 1, 0, 0, 16
        empty_password
        .byte   0, 8
number: .fill   8
        .byte   0, 0                            # from its beginning
read_index:
        .byte   0x80, 2, 0, 0, 0, 35, 0, 0, 1, 0x4e
        .byte   0x40, 0, 0, 1, 1, 0, 0, 16
        empty_password
        .byte   0, 8, 0, 0
name:   .ascii  "TPM "
name_end:

        .balign 8
gdt:    .quad   0
        .quad   0x00cf9b000000ffff              # ring 0, 32-bit code
        .quad   0x00cf93000000ffff              # ring 0, data
gdt_pointer:
        .word   gdt_pointer - gdt - 1
        .long   gdt
