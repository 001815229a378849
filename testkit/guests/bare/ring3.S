/*
 * A guest that enters ring 3 and stays there: it counts in its heartbeat page and does nothing
 * else. It needs no device, no interrupt and, once it counts, no ring 0, so it runs at full speed
 * also where a host runs only guest user mode natively.
 *
 * Layout of guest-physical memory: the image at 1 MiB, the heartbeat page at 2 MiB and the page
 * tables after it. The page tables carry their accessed and dirty bits from the start, so that the
 * heartbeat page is the only page written once ring 3 runs.
 *
 * Assembled with SWEEP_MIB it also writes one word of every page from 16 MiB up to that many MiB,
 * round and round, and counts the pages: its beats show how fast it gets at its memory.
 */

        .set    HEARTBEAT, 0x200000
        .set    PML4, HEARTBEAT + 0x1000
        .set    PDPT, HEARTBEAT + 0x2000
        .set    DIRECTORY, HEARTBEAT + 0x3000
        .set    END, HEARTBEAT + 0x4000

        .ifdef  SWEEP_MIB
        .set    MAPPED_MIB, SWEEP_MIB           # at most 1024: one directory
        .set    SWEEP_FROM, 0x1000000
        .else
        .set    MAPPED_MIB, 4
        .endif

        .set    MULTIBOOT_MAGIC, 0x1badb002
        .set    TABLE, 0x27                     # present, writable, user, accessed
        .set    PAGE_2M, 0xe7                   # the same, dirty, 2 MiB
        .set    CR4_PAE, 1 << 5
        .set    MSR_EFER, 0xc0000080
        .set    EFER_LME, 1 << 8
        .set    CR0_PG_PE, 0x80000001
        .set    KERNEL_CODE, 8
        .set    USER_CODE, 16 | 3
        .set    USER_DATA, 24 | 3

        .section .multiboot, "a"
        .long   MULTIBOOT_MAGIC, 0, -MULTIBOOT_MAGIC

        .text
        .code32
        .globl  start
start:
        cli
        cld
        # After a reset RAM still holds the last run's page and tables.
        movl    $HEARTBEAT, %edi
        movl    $(END - HEARTBEAT) / 4, %ecx
        xorl    %eax, %eax
        rep stosl
        movl    $PDPT + TABLE, PML4
        movl    $DIRECTORY + TABLE, PDPT
        movl    $DIRECTORY, %edi
        movl    $PAGE_2M, %eax
        movl    $MAPPED_MIB / 2, %ecx
map:    movl    %eax, (%edi)
        addl    $0x200000, %eax
        addl    $8, %edi
        loop    map

        movl    $PML4, %eax
        movl    %eax, %cr3
        movl    %cr4, %eax
        orl     $CR4_PAE, %eax
        movl    %eax, %cr4
        movl    $MSR_EFER, %ecx
        rdmsr
        orl     $EFER_LME, %eax
        wrmsr
        movl    %cr0, %eax
        orl     $CR0_PG_PE, %eax
        movl    %eax, %cr0
        lgdt    gdt_pointer
        ljmp    $KERNEL_CODE, $long_mode

        .code64
long_mode:
        movl    $USER_DATA, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    $user_frame, %esp
        iretq

user:
        # Each magic word is the XOR of two constants: the words themselves must stand nowhere in
        # RAM but in the heartbeat page, which is found by them.
        movl    $HEARTBEAT, %edi
        movabsq $0x7c1f3a55e9d204b8, %rax
        movabsq $0x34466a13bb814c89, %rcx
        xorq    %rax, %rcx
        movabsq $0xe12556407134a01d, %rdx
        xorq    %rax, %rdx
        movq    %rdx, 8(%rdi)
        movq    $1, 16(%rdi)
        movq    %rcx, (%rdi)
count:
        .ifdef  SWEEP_MIB
        movl    $SWEEP_FROM, %esi
sweep:  incq    (%rsi)
        incq    24(%rdi)
        addl    $0x1000, %esi
        cmpl    $SWEEP_MIB << 20, %esi
        jb      sweep
        .else
        incq    24(%rdi)
        pause
        .endif
        jmp     count

        .balign 8
user_frame:                                     # instruction, code, flags, stack, stack segment
        .long   user, 0
        .long   USER_CODE, 0
        .long   2, 0
        .long   0, 0
        .long   USER_DATA, 0

        # Every descriptor has its accessed bit set, so the processor never writes one.
gdt:    .quad   0
        .quad   0x00af9b000000ffff              # ring 0, 64-bit code
        .quad   0x00affb000000ffff              # ring 3, 64-bit code
        .quad   0x00cff3000000ffff              # ring 3, data
gdt_pointer:
        .word   gdt_pointer - gdt - 1
        .long   gdt
